"""Datasets of re-identification: pictures for training and evaluation, features for prompts."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from misc.data.loader import Items, TrainItems
from misc.data.samplers import SampleKey
from misc.data.transforms import ReIDTransform
from misc.datasets.pictures import ReadNumbered, read_numbered, read_picture
from misc.datasets.reid_published import ReIDPicture
from misc.runtime.seeding import Purpose, generator
from model.interface import PromptBatch, ReIDBatch

Sample = tuple[Tensor, ReIDPicture]  # (3, rows, columns) and its labels


def collate_pictures(samples: Sequence[Sample]) -> ReIDBatch:
    """A batch of pictures with their labels."""
    return ReIDBatch(
        images=torch.stack([image for image, _ in samples]),
        ids=torch.tensor([picture.identity for _, picture in samples]),
        cameras=torch.tensor([picture.camera for _, picture in samples]),
        views=torch.tensor([picture.view for _, picture in samples]),
    )


class ReIDTrainSet(TrainItems[Sample]):
    """The training pictures, by `SampleKey`.

    Args:
        read: gives a picture by its number and file.
    """

    def __init__(
        self,
        pictures: Sequence[ReIDPicture],
        transform: ReIDTransform,
        seed: int = 0,
        read: ReadNumbered = read_numbered,
    ) -> None:
        self.pictures, self.transform, self.seed = list(pictures), transform, seed
        self.read = read

    def __len__(self) -> int:
        return len(self.pictures)

    def substitutes(self, index: int) -> Iterator[int]:
        """The pictures that may stand for a bad one: the next ones of its identity, then others."""
        following = [*range(index + 1, len(self)), *range(index)]
        identity = self.pictures[index].identity
        yield from sorted(following, key=lambda other: self.pictures[other].identity != identity)

    def __getitem__(self, key: SampleKey) -> Sample:
        _, index = key
        picture = self.pictures[index]
        rng = generator(self.seed, Purpose.IMAGE, *key, 0)
        return self.transform(self.read(index, Path(picture.path)), rng), picture


class ReIDItems(Items[Sample, ReIDBatch]):
    """Pictures to encode, with their labels."""

    def __init__(
        self, pictures: Sequence[ReIDPicture], transform: Callable[[Image.Image], Tensor]
    ) -> None:
        self.pictures, self.transform = list(pictures), transform

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Sample:
        picture = self.pictures[index]
        return self.transform(read_picture(Path(picture.path))), picture

    def collate(self, items: Sequence[Sample]) -> ReIDBatch:
        """A batch of pictures with their labels."""
        return collate_pictures(items)


class FeatureDataset(Dataset[int]):
    """Features of the training pictures, to learn prompts from; a sample is their index.

    Args:
        ids: (N,), int64, the pictures' identities.
    """

    features: Tensor  # (N, D), set by the first stage once the pictures are encoded

    def __init__(self, ids: Tensor) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: SampleKey) -> int:
        _, index = key
        return index

    def collate(self, indices: Sequence[int]) -> PromptBatch:
        """A batch of these features."""
        rows = torch.tensor(indices)
        return PromptBatch(self.features[rows], self.ids[rows])
