"""VeRi-776 (Liu et al., ECCV 2016): vehicles, with Market-1501's file names, and viewpoints.

Wang et al. (ICCV 2017) published `keypoint_train.txt` and `keypoint_test.txt`, whose last column is
the side that a picture shows. They are optional, and do not name every picture.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from errors import InputError
from misc.datasets.label_file import read_labels
from misc.datasets.market1501 import read_named_pictures
from misc.datasets.reid_published import Count, PublishedReIDDataset, ReIDPicture, ReIDSplits

log = logging.getLogger(__name__)

FOLDERS = ("image_train", "image_query", "image_test")
KEYPOINTS = ("keypoint_train.txt", "keypoint_test.txt")
VIEWPOINTS = 8
NEUTRAL = VIEWPOINTS  # the ninth view, of pictures without a label


def read_veri(folder: Path) -> ReIDSplits:
    """With nine views, the viewpoints and the neutral one; with a single one without the files."""
    train, query, gallery = (read_named_pictures(folder / name) for name in FOLDERS)
    if not any((folder / name).exists() for name in KEYPOINTS):
        log.info("%s has no %s: no viewpoints are known", folder, " or ".join(KEYPOINTS))
        return ReIDSplits(train, query, gallery)
    in_training, in_test = (_read_viewpoints(folder / name) for name in KEYPOINTS)
    splits = ReIDSplits(
        _with_views(train, in_training),
        _with_views(query, in_test),
        _with_views(gallery, in_test),
        views=VIEWPOINTS + 1,
    )
    every = (*splits.train, *splits.query, *splits.gallery)
    unlabelled = [picture for picture in every if picture.view == NEUTRAL]
    if unlabelled:
        what = f"{len(unlabelled)} pictures have no viewpoint and get a neutral view"
        log.info("%s: %s, %s first", folder, what, unlabelled[0].path)
    return splits


def _read_viewpoints(file: Path) -> dict[str, int]:
    """By the picture's file name; none if there is no file."""
    views = {}
    for place, name, view in read_labels(file) if file.exists() else ():
        if not 0 <= view < VIEWPOINTS:
            raise InputError(
                f"{place}: the last column is the viewpoint, from 0 to {VIEWPOINTS - 1}, not "
                f"{view}; mend the line, or take it out"
            )
        views[PurePosixPath(name).name] = view
    return views


def _with_views(pictures: Sequence[ReIDPicture], views: Mapping[str, int]) -> list[ReIDPicture]:
    return [
        replace(picture, view=views.get(Path(picture.path).name, NEUTRAL)) for picture in pictures
    ]


VERI776 = PublishedReIDDataset(
    name="VeRi-776",
    folder="VeRi",
    contents=FOLDERS,
    source=(
        "Liu et al., A Deep Learning-Based Approach to Progressive Vehicle Re-identification for "
        "Urban Surveillance, ECCV 2016"
    ),
    cameras=20,
    counts={
        "train": Count(37778, 575),
        "query": Count(1678, 200),
        "gallery": Count(11579, 200),
    },
    read=read_veri,
)
