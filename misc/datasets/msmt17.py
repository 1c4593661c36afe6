"""MSMT17 (Wei et al., CVPR 2018): lists name the pictures, whose names tell the camera."""

import logging
from collections.abc import Callable
from pathlib import Path

from errors import InputError
from misc.datasets.label_file import read_labels
from misc.datasets.market1501 import JUNK
from misc.datasets.reid_published import Count, PublishedReID, ReIDPicture, ReIDSplits

log = logging.getLogger(__name__)

LISTS = ("list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt")


def read_msmt17(folder: Path) -> ReIDSplits:
    """The pictures of `list_val.txt` are trained on, too, as is published."""
    train, val, query, gallery = (folder / name for name in LISTS)

    def read(images: str, *lists: Path) -> list[ReIDPicture]:
        listed = read_lists(lists, lambda name: folder / images / name)
        return [ReIDPicture(str(path), who, _camera(path)) for path, who in listed.items()]

    return ReIDSplits(read("train", train, val), read("test", query), read("test", gallery))


def _camera(path: Path) -> int:
    """From `0000_000_01_0303morning_0008_0.jpg`: the third field, which counts from 1."""
    fields = path.stem.split("_")
    if len(fields) < 3 or not fields[2].isdecimal() or int(fields[2]) == 0:
        raise InputError(
            f"{path}: the third field of the name is not a camera from 1 on, as it is in "
            "0000_000_01_0303morning_0008_0.jpg; rename the picture, or take it off its list"
        )
    return int(fields[2]) - 1


def read_lists(files: tuple[Path, ...], locate: Callable[[str], Path]) -> dict[Path, int]:
    """Pictures with their identities, in the order of the lists, whose lines are `name identity`.

    Junk is left out, and so, with a warning, are pictures that are not there or stand there again.

    Args:
        locate: where the picture of that name lies.

    Raises:
        InputError: if a list cannot be read, gives a picture two identities, or none of the
            pictures is there.
    """
    identities: dict[Path, int] = {}
    for file in files:
        absent, repeated = [], []
        for place, name, identity in read_labels(file):
            path = locate(name)
            if path in identities:
                repeated.append(path)
                if identities[path] != identity:
                    raise InputError(
                        f"{place}: {name} is identity {identity} here and "
                        f"{identities[path]} before; take the wrong line out"
                    )
            elif not path.is_file():
                absent.append(path)
            elif identity != JUNK:
                identities[path] = identity
        for paths, fault in ((absent, "are not there"), (repeated, "stand there again")):
            if paths:
                what = f"{len(paths)} pictures {fault} and are left out"
                log.warning("%s: %s, %s first", file, what, paths[0])
    if not identities:
        raise InputError(f"{files[0]} names no picture that is there; unpack the dataset anew")
    return identities


MSMT17 = PublishedReID(
    name="MSMT17",
    folder="MSMT17",
    contents=("train", "test", *LISTS),
    source=(
        "Wei et al., Person Transfer GAN to Bridge Domain Gap for Person Re-identification, CVPR "
        "2018"
    ),
    cameras=15,
    counts={
        "train": Count(32621, 1041),
        "query": Count(11659, 3060),
        "gallery": Count(82161, 3060),
    },
    read=read_msmt17,
)
