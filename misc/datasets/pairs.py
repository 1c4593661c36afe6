"""Pairs of images and captions from the web, without identities: too many to be held in memory."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from misc.datasets.containment import refuse_outside_alone
from misc.datasets.counts import counted
from misc.datasets.json_lines import JsonLines
from misc.datasets.lazy import LazySequence
from misc.datasets.text_annotations import TextPicture, check_pair, to_picture


class Pairs(LazySequence[TextPicture]):
    """The images of a file of JSON lines, with full paths; each is an identity of its own.

    A line is read, parsed and checked when its image is asked for, by the worker that needs it. So
    a malformed line and an image outside `image_root` are reported when they are met, and an image
    that is missing, with its folder or without, is a bad image as any other (`data.on_bad_image`).

    Args:
        image_root: the folder to which image paths are relative.
        allow_outside: whether images may lie outside `image_root`.
    """

    def __init__(self, lines: JsonLines, image_root: Path, *, allow_outside: bool = False) -> None:
        self.lines, self.root, self.allow_outside = lines, image_root, allow_outside
        self.home = image_root.resolve()

    def __len__(self) -> int:
        return len(self.lines)

    def __str__(self) -> str:
        return f"{counted(len(self), 'image')} without identities"

    def item(self, index: int) -> TextPicture:
        """An image.

        Raises:
            InputError: its line is malformed, or it lies outside `image_root`.
        """
        picture = read_pair(self.lines, index)
        if not self.allow_outside:
            refuse_outside_alone(picture.path, self.root, self.home, self.lines.location(index))
        return replace(picture, path=str(self.root / picture.path))


class ListedAndPairs(LazySequence[TextPicture]):
    """Images that are held in memory, and after them the pairs of some files.

    Args:
        listed: with identities below their number.
    """

    def __init__(self, listed: Sequence[TextPicture], pairs: Sequence[Pairs]) -> None:
        self.listed, self.pairs = listed, pairs
        self.ends = np.cumsum([len(listed), *map(len, pairs)])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def item(self, index: int) -> TextPicture:
        """An image; the identity of one of a pair is its index.

        Raises:
            InputError: as in `Pairs`.
        """
        part = int(np.searchsorted(self.ends, index, side="right"))
        if part == 0:
            return self.listed[index]
        return replace(self.pairs[part - 1][index - int(self.ends[part - 1])], identity=index)


def read_pair(lines: JsonLines, index: int) -> TextPicture:
    """The image of a line, as annotated.

    Raises:
        InputError: the line is malformed, or no pair's.
    """
    location, fields = lines[index]
    check_pair(fields, location)
    return to_picture(fields, index, location)


def listed_of(pictures: Sequence[TextPicture]) -> Sequence[TextPicture]:
    """The images before the pairs."""
    return pictures.listed if isinstance(pictures, ListedAndPairs) else pictures


def count_samples(pictures: Sequence[TextPicture]) -> NDArray[np.int64]:
    """Training samples of each image, (P,): one for each caption, but one for a whole pair."""
    listed = listed_of(pictures)
    counts = np.ones(len(pictures), np.int64)
    counts[: len(listed)] = [len(picture.captions) for picture in listed]
    return counts
