"""Occluded-Duke (Miao et al., ICCV 2019): a split of DukeMTMC-reID in which all queries are
occluded.
"""

from misc.datasets.counts import Count
from misc.datasets.market1501 import FOLDERS, read_market
from misc.datasets.reid_published import PublishedReIDDataset

OCCLUDED_DUKE = PublishedReIDDataset(
    name="Occluded-Duke",
    folder="dukemtmcreid/Occluded_Duke",
    contents=FOLDERS,
    source=(
        "Miao et al., Pose-Guided Feature Alignment for Occluded Person Re-Identification, ICCV "
        "2019, who publish the lists that derive it from DukeMTMC-reID"
    ),
    num_cameras=8,
    counts={
        "train": Count(15618, 702),
        "query": Count(2210, 519),
        "gallery": Count(17661, 1110),
    },
    read=read_market,
)
