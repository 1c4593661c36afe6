"""Pictures and captions on their way from the disk to the network."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from numpy.random import Generator
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from errors import InputError
from misc.datasets.annotations import Picture
from misc.samplers import EpochSampler, Place
from misc.seeding import Purpose, generator
from misc.transforms import Augmentation, SimCLRTransform
from model.interface import AnyBatch
from text_utils.captions import clean_caption
from text_utils.tokenizer import Tokenizer
from text_utils.words import split_words


@dataclass(frozen=True)
class Sample:
    """One caption with views of its picture."""

    place: Place
    views: Tensor  # (V, 3, rows, columns)
    simclr_views: Tensor | None  # (2, 3, rows, columns)
    caption: str
    identity: int


def read_picture(file: Path) -> Image.Image:
    """The picture in RGB.

    Raises:
        InputError: if it is missing or cannot be decoded.
    """
    try:
        with Image.open(file) as picture:
            return picture.convert("RGB")
    except FileNotFoundError:
        raise InputError(
            f"there is no picture {file}, which the dataset names; check data.image_root, or "
            "reid.root"
        ) from None
    except Exception as error:  # Pillow raises nearly any type on a damaged file
        raise InputError(f"the picture {file} cannot be read ({error}); replace it") from None


@dataclass(frozen=True)
class TextAugmentation:
    """What may happen to a caption in training (Cao et al. 2024, section 3.2).

    Args:
        backtranslation: probability that the caption is replaced by its back-translation, where it
            has one.
        change: what is done to the words: (caption, strength, generator) -> caption.
        strength: probability that a word is changed, or part of the words that are.
    """

    backtranslation: float
    change: Callable[[str, float, Generator], str]
    strength: float

    def __call__(self, caption: str, back_translation: str | None, rng: Generator) -> str:
        replace = rng.random() < self.backtranslation
        text = clean_caption(back_translation if replace and back_translation else caption)
        return self.change(text, self.strength, rng)


class CaptionDataset(Dataset[Sample]):
    """The training set: an item is one caption with `views` draws of its picture.

    It is asked for by (epoch, index), and every draw comes from the generator of (seed, epoch,
    index, view).

    Args:
        languages: the pictures in each language of their captions. A picture has as many items as
            captions in the language that has most; an item is drawn in any language, its number
            taken modulo the captions that are there.
        simclr: draws two views more, for a loss that contrasts them.
    """

    def __init__(
        self,
        languages: Sequence[Sequence[Picture]],
        transform: Augmentation,
        augment_text: TextAugmentation,
        views: int = 1,
        simclr: SimCLRTransform | None = None,
        seed: int = 0,
    ) -> None:
        self.languages = [list(pictures) for pictures in languages]
        self.captions = [
            (p, c)
            for p, told in enumerate(zip(*self.languages, strict=True))
            for c in range(max(len(picture.captions) for picture in told))
        ]
        for pictures in self.languages:  # once here, not in each worker: Chinese has a dictionary
            split_words(pictures[0].captions[0])
        self.transform, self.augment_text = transform, augment_text
        self.views, self.simclr, self.seed = views, simclr, seed

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, place: Place) -> Sample:
        picture_index, caption_index = self.captions[place[1]]
        language = generator(self.seed, Purpose.LANGUAGE, *place).integers(len(self.languages))
        picture = self.languages[language][picture_index]
        pixels = read_picture(Path(picture.path))
        rngs = (generator(self.seed, Purpose.IMAGE, *place, view) for view in count())
        views = [self.transform(pixels, rng) for rng in islice(rngs, self.views)]
        simclr_views = [self.simclr(pixels, rng) for rng in islice(rngs, 2)] if self.simclr else []
        number = caption_index % len(picture.captions)
        caption = self.augment_text(
            picture.captions[number],
            picture.back_translations[number],
            generator(self.seed, Purpose.TEXT, *place),
        )
        return Sample(
            place,
            torch.stack(views),
            torch.stack(simclr_views) if simclr_views else None,
            caption,
            picture.identity,
        )


class Items(Dataset[Any], ABC):
    """What is encoded for an evaluation, each item once."""

    @abstractmethod
    def __len__(self) -> int:
        """How many."""

    @abstractmethod
    def collate(self, items: Sequence[Any]) -> Any:
        """A batch of them, which `to` brings to a device."""


class PictureDataset(Items):
    """The gallery: every picture once, (3, rows, columns)."""

    def __init__(self, files: Sequence[Path], transform: Callable[[Image.Image], Tensor]) -> None:
        self.files, self.transform = list(files), transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(read_picture(self.files[index]))

    def collate(self, items: Sequence[Tensor]) -> Tensor:
        """(N, 3, rows, columns)."""
        return torch.stack(tuple(items))


class TokenDataset(Items):
    """The queries: every caption once, as it is, (L,)."""

    def __init__(self, captions: Sequence[str], tokenizer: Tokenizer, text_length: int) -> None:
        self.captions, self.tokenizer, self.text_length = list(captions), tokenizer, text_length

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> Tensor:
        return self.tokenizer([clean_caption(self.captions[index])], self.text_length)[0]

    def collate(self, items: Sequence[Tensor]) -> Tensor:
        """(N, L), cut to the longest caption."""
        return self.tokenizer.trim(torch.stack(tuple(items)))


class Loader:
    """A DataLoader that hands a user's error on as the one sentence it is, also out of a worker
    process.
    """

    def __init__(self, loader: DataLoader[Any], sampler: EpochSampler | None = None) -> None:
        self.loader, self.sampler = loader, sampler

    def __len__(self) -> int:
        return len(self.loader)

    def start(self, epoch: int, first_step: int = 0) -> None:
        """The next iteration is of `epoch`, from `first_step` on."""
        assert self.sampler is not None
        self.sampler.start(epoch, first_step)

    def __iter__(self) -> Iterator[Any]:
        sentence = None
        try:
            yield from self.loader
        except InputError as error:
            # The loader wraps a worker's error into its traceback, the sentence last.
            sentence = str(error).strip().splitlines()[-1].removeprefix("errors.InputError: ")
        if sentence:  # raised here, the error does not keep the loader's workers alive
            raise InputError(sentence, in_one_process=True)


def train_loader(
    dataset: Dataset[Any],
    collate: Callable[[Sequence[Any]], AnyBatch],
    sampler: EpochSampler,
    num_workers: int,
    pin_memory: bool,
) -> Loader:
    """The batches of an epoch; `start` says of which."""
    loader = DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate,
        pin_memory=pin_memory,
    )
    return Loader(loader, sampler)


def evaluation_loader(
    dataset: Items,
    batch_size: int,
    num_workers: int,
    pin_memory: bool,
    rank: int = 0,
    world_size: int = 1,
) -> Loader:
    """The items `rank`, `rank + world_size`, ... of a dataset, in order: each rank its own.

    A rank that there is no item for gets the first one, so that it has features to bring.
    """
    own = range(rank, len(dataset), world_size) or range(1)
    loader = DataLoader(
        Subset(dataset, own),
        batch_size,
        num_workers=num_workers,
        pin_memory=pin_memory,
        collate_fn=dataset.collate,
    )
    return Loader(loader)
