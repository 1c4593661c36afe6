"""Market-1501 (Zheng et al., ICCV 2015), whose folders and file names others took over.

Who is seen and by which camera stands in a picture's name: `0002_c1s1_000451_03.jpg` is identity 2
at the first camera. It is the layout for pictures of one's own, too.
"""

import re
from pathlib import Path

from errors import InputError
from misc.datasets.reid_published import Count, PublishedReIDDataset, ReIDPicture, ReIDSplits

FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
NAME = re.compile(r"(-?\d+)_c(\d+)")
SUFFIXES = (".jpg", ".jpeg", ".png")
JUNK = -1  # what a detector took for a person; identity 0 is a real one, whom nobody looks for


def read_market(folder: Path) -> ReIDSplits:
    train, query, gallery = (read_named_pictures(folder / name) for name in FOLDERS)
    return ReIDSplits(train, query, gallery)


def read_named_pictures(folder: Path) -> list[ReIDPicture]:
    """The pictures of a folder in the order of their names, without junk.

    Raises:
        InputError: if a name does not begin with identity and camera, or there are no pictures.
    """
    pictures = []
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in SUFFIXES or file.name.startswith("."):
            continue
        name = NAME.match(file.name)
        if name is None or int(name[2]) == 0:
            raise InputError(
                f"{file}: the name does not begin with an identity and a camera from 1 on, as "
                "0002_c1s1_000451_03.jpg does; rename the picture or take it out"
            )
        if int(name[1]) != JUNK:
            pictures.append(ReIDPicture(str(file), int(name[1]), int(name[2]) - 1))
    if not pictures:
        raise InputError(
            f"{folder} holds no pictures ({', '.join(SUFFIXES)}); unpack the dataset anew"
        )
    return pictures


MARKET1501 = PublishedReIDDataset(
    name="Market-1501",
    folder="Market-1501-v15.09.15",
    contents=FOLDERS,
    source="Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015",
    cameras=6,
    counts={
        "train": Count(12936, 751),
        "query": Count(3368, 750),
        "gallery": Count(15913, 751),
    },
    read=read_market,
)
