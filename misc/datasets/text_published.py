"""Published text-to-person datasets: their sizes, and how their records are recognised."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from misc.datasets.counts import TextCount, compare_counts
from misc.datasets.text_annotations import Record, TextPicture


@dataclass(frozen=True)
class PublishedTextDataset:
    """A published dataset of images with captions.

    Args:
        counts: sizes of the splits that it has.
        recognises: whether all of some records may be of this dataset.
    """

    name: str
    counts: Mapping[str, TextCount]
    recognises: Callable[[Sequence[Record]], bool]

    def compare_counts(self, splits: Mapping[str, Sequence[TextPicture]]) -> str:
        """One sentence on the sizes that differ from the published ones; empty if all agree."""
        here = {split: count_captioned(pictures) for split, pictures in splits.items()}
        return compare_counts(self.name, here, self.counts)


def count_captioned(pictures: Iterable[TextPicture]) -> TextCount:
    """Images, identities and captions of a split."""
    pictures = list(pictures)
    identities = {picture.identity for picture in pictures}
    captions = sum(len(picture.captions) for picture in pictures)
    return TextCount(len(pictures), len(identities), captions)
