"""Occluded-Duke (Miao et al., ICCV 2019): DukeMTMC-reID split anew, with something in front of
everybody who is looked for.
"""

from misc.datasets.market1501 import FOLDERS, read_market
from misc.datasets.reid_published import Count, PublishedReIDDataset

OCCLUDED_DUKE = PublishedReIDDataset(
    name="Occluded-Duke",
    folder="dukemtmcreid/Occluded_Duke",
    contents=FOLDERS,
    source=(
        "Miao et al., Pose-Guided Feature Alignment for Occluded Person Re-Identification, ICCV "
        "2019, whose lists make it from DukeMTMC-reID"
    ),
    cameras=8,
    counts={
        "train": Count(15618, 702),
        "query": Count(2210, 519),
        "gallery": Count(17661, 1110),
    },
    read=read_market,
)
