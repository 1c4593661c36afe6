"""A published text-to-person dataset: what its owners say it holds, and how it is recognised."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from misc.datasets.text_annotations import SPLITS, Record, TextPicture


@dataclass(frozen=True)
class Count:
    """How much there is in one split."""

    pictures: int
    captions: int
    identities: int


@dataclass(frozen=True)
class PublishedTextDataset:
    """
    Args:
        counts: of each split that the dataset has.
        recognises: whether records are this dataset's, or a part of it.
    """

    name: str
    counts: Mapping[str, Count]
    recognises: Callable[[Sequence[Record]], bool]

    def compare_counts(self, splits: Mapping[str, Sequence[TextPicture]]) -> list[str]:
        """A sentence for each number that differs from the published one; none when all agree."""
        sentences = []
        for split in SPLITS:
            here = count(splits.get(split, ()))
            published = self.counts.get(split, Count(0, 0, 0))
            for what in ("pictures", "captions", "identities"):
                found, expected = getattr(here, what), getattr(published, what)
                if found != expected:
                    sentences.append(f"{split}: {found} {what}, {expected} published")
        return sentences


def count(pictures: Iterable[TextPicture]) -> Count:
    pictures = list(pictures)
    captions = sum(len(picture.captions) for picture in pictures)
    return Count(len(pictures), captions, len({picture.identity for picture in pictures}))
