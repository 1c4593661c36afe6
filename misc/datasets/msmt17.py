"""MSMT17 (Wei et al., CVPR 2018): lists of images whose names hold the camera."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from errors import InputError
from misc.datasets.counts import Count
from misc.datasets.label_file import read_labels
from misc.datasets.market1501 import JUNK
from misc.datasets.reid_published import (
    LeftOut,
    PublishedReIDDataset,
    ReIDPicture,
    ReIDSplits,
)

LISTS = ("list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt")


def read_msmt17(folder: Path) -> ReIDSplits:
    """Read the splits; train includes `list_val.txt`, as published."""
    *lists_of_train, of_query, of_gallery = (folder / name for name in LISTS)

    def read(images: str, *lists: Path) -> Listed:
        return read_lists(lists, lambda name: folder / images / name)

    listed = read("train", *lists_of_train), read("test", of_query), read("test", of_gallery)
    train, query, gallery = (
        [ReIDPicture(str(path), who, _camera(path)) for path, who in part.identities.items()]
        for part in listed
    )
    left_out = [one for part in listed for one in part.left_out]
    return ReIDSplits(train, query, gallery, left_out=left_out)


def _camera(path: Path) -> int:
    """The third field of names like `0000_000_01_0303morning_0008_0.jpg`, minus 1."""
    fields = path.stem.split("_")
    if len(fields) < 3 or not fields[2].isdecimal() or int(fields[2]) == 0:
        raise InputError(
            f"{path}: the third field of the name must be a camera (from 1), as in "
            "0000_000_01_0303morning_0008_0.jpg; rename the file, or remove it from its list"
        )
    return int(fields[2]) - 1


@dataclass(frozen=True)
class Listed:
    """Identities of the listed images, in order, and the lines that were skipped."""

    identities: Mapping[Path, int]
    left_out: Sequence[LeftOut]


def read_lists(files: tuple[Path, ...], locate: Callable[[str], Path]) -> Listed:
    """Read lists with lines `name identity`, without junk.

    Args:
        locate: the path of the image with a name.

    Raises:
        InputError: a list cannot be read, gives an image two identities or leads out of the
            dataset's folder, or none of the images exists.
    """
    identities: dict[Path, int] = {}
    left_out = []
    for file in files:
        for location, name, identity in read_labels(file):
            if name.startswith("/") or ".." in PurePosixPath(name).parts:
                raise InputError(
                    f"{location}: {name} leads out of the dataset's folder; remove the line"
                )
            path = locate(name)
            if path in identities:
                if identities[path] != identity:
                    raise InputError(
                        f"{location}: {name} has identity {identity}, but {identities[path]} in an "
                        "earlier line; remove the wrong line"
                    )
                left_out.append(LeftOut(file, location, path, is_there=True))
            elif not path.is_file():
                left_out.append(LeftOut(file, location, path, is_there=False))
            elif identity != JUNK:
                identities[path] = identity
    if not identities:
        raise InputError(f"none of the images in {files[0]} exists; unpack the dataset again")
    return Listed(identities, left_out)


MSMT17 = PublishedReIDDataset(
    name="MSMT17",
    folder="MSMT17",
    contents=("train", "test", *LISTS),
    source=(
        "Wei et al., Person Transfer GAN to Bridge Domain Gap for Person Re-identification, CVPR "
        "2018"
    ),
    num_cameras=15,
    counts={
        "train": Count(32621, 1041),
        "query": Count(11659, 3060),
        "gallery": Count(82161, 3060),
    },
    read=read_msmt17,
    numbered_apart=True,
)
