"""Pictures and captions on their way from the disk to the network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import torch
from numpy.random import Generator
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from misc.data.loader import Items
from misc.data.samplers import Place
from misc.data.transforms import Augmentation, SimCLRTransform
from misc.datasets.pictures import read_picture
from misc.datasets.text_annotations import TextPicture
from misc.runtime.seeding import Purpose, generator
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
        languages: Sequence[Sequence[TextPicture]],
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
