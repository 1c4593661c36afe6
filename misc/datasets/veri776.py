"""VeRi-776 (Liu et al., ECCV 2016): vehicles, with Market-1501's file names and viewpoints.

The last column of `keypoint_train.txt` and `keypoint_test.txt` (Wang et al., ICCV 2017) is the
viewpoint. The files are optional and do not list every image.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from errors import InputError
from misc.datasets.counts import Count
from misc.datasets.label_file import read_labels
from misc.datasets.market1501 import read_named_pictures
from misc.datasets.reid_published import PublishedReIDDataset, ReIDPicture, ReIDSplits

log = logging.getLogger(__name__)

FOLDERS = ("image_train", "image_query", "image_test")
KEYPOINTS = ("keypoint_train.txt", "keypoint_test.txt")
VIEWPOINTS = 8
NEUTRAL = VIEWPOINTS  # the ninth view, of images without a label


def read_veri(folder: Path) -> ReIDSplits:
    """Read the splits: nine views with the keypoint files (eight and a neutral one), else one."""
    train, query, gallery = (read_named_pictures(folder / name) for name in FOLDERS)
    if not any((folder / name).exists() for name in KEYPOINTS):
        log.info("%s: no viewpoints, since %s are missing", folder, " and ".join(KEYPOINTS))
        return ReIDSplits(train, query, gallery)
    in_training, in_test = (_read_viewpoints(folder / name) for name in KEYPOINTS)
    splits = ReIDSplits(
        _with_views(train, in_training),
        _with_views(query, in_test),
        _with_views(gallery, in_test),
        num_views=VIEWPOINTS + 1,
        neutral_view=NEUTRAL,
    )
    pictures = (*splits.train, *splits.query, *splits.gallery)
    unlabelled = [picture for picture in pictures if picture.view == NEUTRAL]
    if unlabelled:
        log.info(
            "%s: images without a viewpoint, which get a neutral view: %d (first: %s)",
            folder,
            len(unlabelled),
            unlabelled[0].path,
        )
    return splits


def _read_viewpoints(file: Path) -> dict[str, int]:
    """Viewpoints by file name; empty if the file does not exist."""
    views = {}
    for location, name, view in read_labels(file) if file.exists() else ():
        if not 0 <= view < VIEWPOINTS:
            raise InputError(
                f"{location}: the viewpoint in the last column must be 0 to {VIEWPOINTS - 1}, not "
                f"{view}; fix or remove the line"
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
    num_cameras=20,
    counts={
        "train": Count(37778, 575),
        "query": Count(1678, 200),
        "gallery": Count(11579, 200),
    },
    read=read_veri,
)
