"""MSMT17 (Wei et al., CVPR 2018): lists name the pictures, whose names tell the camera."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from errors import InputError
from misc.datasets.label_file import read_labels
from misc.datasets.market1501 import JUNK
from misc.datasets.reid_published import (
    Count,
    LeftOut,
    PublishedReIDDataset,
    ReIDPicture,
    ReIDSplits,
)

LISTS = ("list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt")


def read_msmt17(folder: Path) -> ReIDSplits:
    """The pictures of `list_val.txt` are trained on, too, as is published."""
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
    """From `0000_000_01_0303morning_0008_0.jpg`: the third field, which counts from 1."""
    fields = path.stem.split("_")
    if len(fields) < 3 or not fields[2].isdecimal() or int(fields[2]) == 0:
        raise InputError(
            f"{path}: the third field of the name is not a camera from 1 on, as it is in "
            "0000_000_01_0303morning_0008_0.jpg; rename the picture, or take it off its list"
        )
    return int(fields[2]) - 1


@dataclass(frozen=True)
class Listed:
    """The identity of every picture that lists name, in their order, and what they name in vain."""

    identities: Mapping[Path, int]
    left_out: Sequence[LeftOut]


def read_lists(files: tuple[Path, ...], locate: Callable[[str], Path]) -> Listed:
    """What the lines `name identity` of these lists name, without junk.

    Args:
        locate: where the picture of that name lies.

    Raises:
        InputError: if a list cannot be read, gives a picture two identities, or none of the
            pictures is there.
    """
    identities: dict[Path, int] = {}
    left_out = []
    for file in files:
        for place, name, identity in read_labels(file):
            path = locate(name)
            if path in identities:
                if identities[path] != identity:
                    raise InputError(
                        f"{place}: {name} is identity {identity} here and "
                        f"{identities[path]} before; take the wrong line out"
                    )
                left_out.append(LeftOut(file, place, path, is_there=True))
            elif not path.is_file():
                left_out.append(LeftOut(file, place, path, is_there=False))
            elif identity != JUNK:
                identities[path] = identity
    if not identities:
        raise InputError(f"{files[0]} names no picture that is there; unpack the dataset anew")
    return Listed(identities, left_out)


MSMT17 = PublishedReIDDataset(
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
    numbered_apart=True,
)
