"""Published image re-identification datasets: their sizes, and how they are read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from misc.datasets.counts import Count, compare_counts

SPLITS = ("train", "query", "gallery")


@dataclass(frozen=True)
class ReIDPicture:
    """One image of a person or a vehicle.

    `camera` counts from 0 and is 0 in datasets without cameras. `view` is the side that is seen; it
    is 0 in all datasets but VeRi-776.
    """

    path: str
    identity: int
    camera: int = 0
    view: int = 0


@dataclass(frozen=True)
class LeftOut:
    """A line of a list that is skipped, since its image is missing or listed before.

    Args:
        location: file and line number, for messages.
        is_there: whether the image exists; then it is listed twice.
    """

    file: Path
    location: str
    path: Path
    is_there: bool


@dataclass(frozen=True)
class ReIDSplits:
    """The images of a dataset, with identities as annotated, and the number of views, of which
    `neutral_view` is that of images without a label, if there is one.
    """

    train: Sequence[ReIDPicture]
    query: Sequence[ReIDPicture]
    gallery: Sequence[ReIDPicture]
    num_views: int = 1
    left_out: Sequence[LeftOut] = ()
    neutral_view: int | None = None


@dataclass(frozen=True)
class PublishedReIDDataset:
    """A published dataset of image re-identification.

    Args:
        folder: name of the dataset's folder, as published.
        contents: files and folders in it that are read.
        source: the paper whose authors give out the dataset.
        counts: published sizes of the splits, as far as they are known.
        read: reads the images of a folder.
        num_draws: galleries drawn at random from the test images, over which results are averaged.
        numbered_apart: whether the same number in train and test means different identities.
    """

    name: str
    folder: str
    contents: tuple[str, ...]
    source: str
    num_cameras: int
    counts: Mapping[str, Count]
    read: Callable[[Path], ReIDSplits]
    num_draws: int = 1
    numbered_apart: bool = False

    def compare_counts(self, splits: ReIDSplits) -> str:
        """One sentence on the sizes that differ from the published ones; empty if all agree."""
        here = {split: count(getattr(splits, split)) for split in SPLITS}
        return compare_counts(self.name, here, self.counts)


def count(pictures: Iterable[ReIDPicture]) -> Count:
    """Images and identities of a split."""
    pictures = list(pictures)
    return Count(len(pictures), len({picture.identity for picture in pictures}))
