"""Pictures of identities on their way from the disk to the network, and their features to the
prompts.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from misc.data.loader import Items
from misc.data.samplers import Place
from misc.data.transforms import ReIDTransform
from misc.datasets.pictures import read_picture
from misc.datasets.reid_published import ReIDPicture
from misc.runtime.seeding import Purpose, generator
from model.interface import PromptBatch, ReIDBatch

Sample = tuple[Tensor, ReIDPicture]  # (3, rows, columns), and what is known of it


def collate_pictures(samples: Sequence[Sample]) -> ReIDBatch:
    """A batch of pictures with all that is known of them."""
    return ReIDBatch(
        images=torch.stack([image for image, _ in samples]),
        ids=torch.tensor([picture.identity for _, picture in samples]),
        cameras=torch.tensor([picture.camera for _, picture in samples]),
        views=torch.tensor([picture.view for _, picture in samples]),
    )


class ReIDTrainSet(Dataset[Sample]):
    """The training pictures, asked for by (epoch, index), which every draw comes from, too."""

    def __init__(
        self, pictures: Sequence[ReIDPicture], transform: ReIDTransform, seed: int = 0
    ) -> None:
        self.pictures, self.transform, self.seed = list(pictures), transform, seed

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, place: Place) -> Sample:
        picture = self.pictures[place[1]]
        rng = generator(self.seed, Purpose.IMAGE, *place, 0)
        return self.transform(read_picture(Path(picture.path)), rng), picture


class ReIDItems(Items):
    """Pictures to encode, each once, with what is known of them."""

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
        """With N pictures."""
        return collate_pictures(items)


class FeatureDataset(Dataset[int]):
    """Features of the training pictures, which the first stage encodes before it begins.

    Args:
        ids: (N,), int64, of their identities.
    """

    features: Tensor  # (N, D)

    def __init__(self, ids: Tensor) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: Place) -> int:
        return place[1]

    def collate(self, indices: Sequence[int]) -> PromptBatch:
        """A batch of them."""
        rows = torch.tensor(indices)
        return PromptBatch(self.features[rows], self.ids[rows])
