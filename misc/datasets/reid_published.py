"""A published dataset of image re-identification: what its owners say it holds, how it is read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "query", "gallery")


@dataclass(frozen=True)
class ReIDPicture:
    """One picture of a person or a vehicle.

    `camera` counts from 0, and is 0 where a dataset tells none; so is `view`, the side that is
    seen, which only VeRi-776 tells.
    """

    path: str
    identity: int
    camera: int = 0
    view: int = 0


@dataclass(frozen=True)
class LeftOut:
    """A picture that a line of a list (`place`) names in vain: for it is not there, or the list
    names it again.
    """

    file: Path
    place: str
    path: Path
    is_there: bool


@dataclass(frozen=True)
class ReIDSplits:
    """A dataset's pictures, with their identities as written; `views` is how many there can be."""

    train: Sequence[ReIDPicture]
    query: Sequence[ReIDPicture]
    gallery: Sequence[ReIDPicture]
    views: int = 1
    left_out: Sequence[LeftOut] = ()


@dataclass(frozen=True)
class Count:
    """How much there is in one split."""

    pictures: int
    identities: int


@dataclass(frozen=True)
class PublishedReIDDataset:
    """
    Args:
        folder: the dataset's own, as its owners name it.
        contents: the files and folders in it that are read.
        source: whom to ask for it: those who published it, and where.
        counts: of the splits, where they are known; one's own pictures have none.
        read: the pictures of that folder.
        draws: galleries that are drawn anew from the test pictures, and averaged over.
        numbered_apart: whether an identity in train is another one than that of its number in test.
    """

    name: str
    folder: str
    contents: tuple[str, ...]
    source: str
    cameras: int
    counts: Mapping[str, Count]
    read: Callable[[Path], ReIDSplits]
    draws: int = 1
    numbered_apart: bool = False

    def compare_counts(self, splits: ReIDSplits) -> list[str]:
        """A sentence for each number that differs from the published one; none when all agree."""
        sentences = []
        for split, published in self.counts.items():
            here = count(getattr(splits, split))
            for what in ("pictures", "identities"):
                found, expected = getattr(here, what), getattr(published, what)
                if found != expected:
                    sentences.append(f"{split}: {found} {what}, {expected} published")
        return sentences


def count(pictures: Iterable[ReIDPicture]) -> Count:
    pictures = list(pictures)
    return Count(len(pictures), len({picture.identity for picture in pictures}))
