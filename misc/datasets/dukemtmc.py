"""DukeMTMC-reID (Ristani et al., ECCV workshops 2016; Zheng et al., ICCV 2017), in Market-1501's
layout.
"""

from misc.datasets.counts import Count
from misc.datasets.market1501 import FOLDERS, read_market
from misc.datasets.reid_published import PublishedReIDDataset

DUKEMTMC = PublishedReIDDataset(
    name="DukeMTMC-reID",
    folder="dukemtmcreid/DukeMTMC-reID",
    contents=FOLDERS,
    source=(
        "Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera "
        "Tracking, ECCV workshops 2016; withdrawn by its authors"
    ),
    num_cameras=8,
    counts={
        "train": Count(16522, 702),
        "query": Count(2228, 702),
        "gallery": Count(17661, 1110),
    },
    read=read_market,
)
