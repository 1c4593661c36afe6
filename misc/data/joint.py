"""Two training sets as one: pairs for text-to-image search, then pictures of re-identification."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from misc.data import reid, text
from misc.data.loader import TrainItems
from misc.data.reid import ReIDTrainSet, collate_pictures
from misc.data.samplers import SampleKey
from misc.data.text import CaptionDataset
from misc.data.text_collate import TextCollate
from model.interface import JointBatch, TextBatch

Sample = text.Sample | reid.Sample


class JointTrainSet(TrainItems[Sample]):
    """The pairs and, counted on from them, the pictures, by `SampleKey`."""

    def __init__(self, pairs: CaptionDataset, pictures: ReIDTrainSet) -> None:
        self.pairs, self.pictures = pairs, pictures

    def __len__(self) -> int:
        return len(self.pairs) + len(self.pictures)

    def __getitem__(self, key: SampleKey) -> Sample:
        epoch, index = key
        own = index - len(self.pairs)
        return self.pairs[key] if own < 0 else self.pictures[epoch, own]

    def substitutes(self, index: int) -> Iterator[int]:
        """The samples of the same set that may stand for one whose picture is bad."""
        own = index - len(self.pairs)
        if own < 0:
            yield from self.pairs.substitutes(index)
        else:
            yield from (len(self.pairs) + other for other in self.pictures.substitutes(own))


@dataclass(frozen=True)
class JointCollate:
    """The collation of samples of both sets to a batch.

    Args:
        pairs: collates those of the first.
    """

    pairs: TextCollate

    def __call__(self, samples: Sequence[Sample]) -> JointBatch:
        pairs = self.pairs([sample for sample in samples if isinstance(sample, text.Sample)])
        assert isinstance(pairs, TextBatch), "a device has nothing to draw for pictures"
        others = [sample for sample in samples if not isinstance(sample, text.Sample)]
        return JointBatch(pairs, collate_pictures(others))
