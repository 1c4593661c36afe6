"""Market-1501 (Zheng et al., ICCV 2015), whose layout other datasets adopted.

A file name holds identity and camera: `0002_c1s1_000451_03.jpg` is identity 2 at the first camera.
Images of your own may use this layout, or that of `misc/datasets/people_folder.py`.
"""

import re
from pathlib import Path

from errors import InputError
from misc.datasets.counts import Count
from misc.datasets.pictures import SUFFIXES
from misc.datasets.reid_published import PublishedReIDDataset, ReIDPicture, ReIDSplits

FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
NAME = re.compile(r"(-?\d+)_c(\d+)")
JUNK = -1  # false detections; identity 0 are real distractors, who are never queried


def read_market(folder: Path) -> ReIDSplits:
    """Read train, query and gallery of a folder."""
    train, query, gallery = (read_named_pictures(folder / name) for name in FOLDERS)
    return ReIDSplits(train, query, gallery)


def read_named_pictures(folder: Path) -> list[ReIDPicture]:
    """Read the images of a folder, sorted by name, without junk.

    Raises:
        InputError: a name does not start with identity and camera, or there are no images.
    """
    pictures = []
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in SUFFIXES or file.name.startswith("."):
            continue
        name = NAME.match(file.name)
        if name is None or int(name[2]) == 0:
            raise InputError(
                f"{file}: the name must start with identity and camera (from 1), as in "
                "0002_c1s1_000451_03.jpg; rename or remove the file"
            )
        if int(name[1]) != JUNK:
            pictures.append(ReIDPicture(str(file), int(name[1]), int(name[2]) - 1))
    if not pictures:
        raise InputError(
            f"{folder} has no images ({', '.join(SUFFIXES)}); unpack the dataset again"
        )
    return pictures


MARKET1501 = PublishedReIDDataset(
    name="Market-1501",
    folder="Market-1501-v15.09.15",
    contents=FOLDERS,
    source="Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015",
    num_cameras=6,
    counts={
        "train": Count(12936, 751),
        "query": Count(3368, 750),
        "gallery": Count(15913, 751),
    },
    read=read_market,
)
