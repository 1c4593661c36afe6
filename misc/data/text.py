"""Datasets of captions and pictures: for training, and the gallery and queries of evaluation."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from misc.data.loader import Items, TrainItems
from misc.data.rendering import ViewRows
from misc.data.samplers import SampleKey
from misc.data.transforms import (
    Augmentation,
    SimCLRTransform,
    ViewTransform,
    cut_views,
    draw_views,
    make_views,
)
from misc.data.views import View
from misc.datasets.pairs import count_samples, listed_of
from misc.datasets.pictures import ReadNumbered, read_numbered, read_picture
from misc.datasets.text_annotations import TextPicture
from misc.runtime.seeding import Purpose, generator
from text_utils.captions import MOST_WORDS, clean_caption
from text_utils.tokenizer import Tokenizer
from text_utils.words import split_words

log = logging.getLogger(__name__)

MOST_COUNTED = 1000  # captions that tell how many of a set are cut: tokens take half a ms each


@dataclass(frozen=True)
class Sample:
    """One caption with views of its picture, or with that and what is drawn of each view."""

    key: SampleKey
    views: Tensor  # (V, 3, rows, columns), or (V, 33): rows of `ViewRows`
    simclr_views: Tensor | None  # (2, 3, rows, columns), or (2, 33)
    caption: str
    identity: int
    picture: Tensor | None = None  # (3, rows, columns), uint8, of views that are drawn alone


@dataclass(frozen=True)
class TextAugmentation:
    """The augmentation of captions in training (Cao et al. 2024, section 3.2).

    Args:
        backtranslation: probability that the caption is replaced by its back-translation, where it
            has one.
        change: an operation of EDA: (caption, strength, generator) -> caption.
        strength: probability that a word is changed, or share of the words that are.
        clean: pass captions through `clean_caption` first.
        max_words: that it leaves.
    """

    backtranslation: float
    change: Callable[[str, float, Generator], str]
    strength: float
    clean: bool = True
    max_words: int = MOST_WORDS

    def __call__(self, caption: str, back_translation: str | None, rng: Generator) -> str:
        replace = rng.random() < self.backtranslation
        text = back_translation if replace and back_translation else caption
        text = clean_caption(text, self.max_words) if self.clean else text
        return self.change(text, self.strength, rng)


class CaptionDataset(TrainItems[Sample]):
    """The training set, by `SampleKey`: an item is a caption with `views` views of its picture.

    Args:
        languages: the same pictures with their captions in each language. A picture has as many
            items as captions in the language with the most. The language of an item is drawn at
            random; where it has fewer captions, they are counted through again. A pair that is read
            when it is asked for (`misc.datasets.pairs`) is one item, whose captions take turns,
            one an epoch.
        simclr: the augmentation of two more views, for the loss that contrasts them.
        read: gives a picture by its number and file.
        draws_alone: do not make the views, if `transform` is a `ViewTransform`.
        mismatches: gives, for so many items, the item whose caption each has; None: its own.
    """

    def __init__(
        self,
        languages: Sequence[Sequence[TextPicture]],
        transform: Augmentation,
        augment_text: TextAugmentation,
        *,
        views: int = 1,
        simclr: SimCLRTransform | None = None,
        seed: int = 0,
        read: ReadNumbered = read_numbered,
        draws_alone: bool = False,
        mismatches: Callable[[int], NDArray[np.int64]] | None = None,
    ) -> None:
        self.languages = languages
        counts = np.max([count_samples(pictures) for pictures in languages], axis=0)
        self.first = np.concatenate([[0], counts.cumsum()])  # item of each picture, and the end
        self.num_listed = len(listed_of(languages[0]))
        self.texts = (mismatches or np.arange)(len(self))  # the item of each caption
        for pictures in self.languages:  # the Chinese dictionary is loaded here, not in each worker
            split_words(pictures[0].captions[0])
        self.augmentations = [transform] * views + ([simclr] * 2 if simclr else [])
        self.augment_text, self.views, self.seed = augment_text, views, seed
        self.read, self.draws_alone = read, draws_alone

    def __len__(self) -> int:
        return int(self.first[-1])

    def substitutes(self, index: int) -> Iterator[int]:
        """The captions that may stand for one whose picture is bad: the next ones."""
        return chain(range(index + 1, len(self)), range(index))

    def described(self, index: int) -> list[TextPicture]:
        """The picture of an item, with its captions in each language."""
        picture_index, _ = self._place(0, index)
        return [pictures[picture_index] for pictures in self.languages]

    def _place(self, epoch: int, index: int) -> tuple[int, int]:
        """The index of an item's picture, and that of its caption, which counts through again."""
        picture = int(np.searchsorted(self.first, index, side="right")) - 1
        takes_turns = picture >= self.num_listed
        return picture, epoch + picture if takes_turns else index - int(self.first[picture])

    def __getitem__(self, key: SampleKey) -> Sample:
        epoch, index = key
        picture_index, _ = self._place(epoch, index)
        described_index, caption_index = self._place(epoch, int(self.texts[index]))
        rng = generator(self.seed, Purpose.LANGUAGE, *key)
        pictures = self.languages[int(rng.integers(len(self.languages)))]
        picture, described = pictures[picture_index], pictures[described_index]
        pixels = self.read(picture_index, Path(picture.path))
        views, whole = self._views(pixels, key)
        number = caption_index % len(described.captions)
        caption = self.augment_text(
            described.captions[number],
            described.back_translations[number],
            generator(self.seed, Purpose.TEXT, *key),
        )
        return Sample(
            key,
            views[: self.views],
            views[self.views :] if len(views) > self.views else None,
            caption,
            picture.identity,
            whole,
        )

    def _views(self, picture: Image.Image, key: SampleKey) -> tuple[Tensor, Tensor | None]:
        """The views of a picture; or what is drawn of them, and the picture."""
        augmentations = self.augmentations
        rngs = [
            generator(self.seed, Purpose.IMAGE, *key, view) for view in range(len(augmentations))
        ]
        transforms = [t for t in augmentations if isinstance(t, ViewTransform)]
        if len(transforms) < len(augmentations):
            made = [t(picture, rng) for t, rng in zip(augmentations, rngs, strict=True)]
            return torch.stack(made), None
        if self.draws_alone:
            views = draw_views(picture, transforms, rngs)
            return ViewRows.of(views).rows, cut_views(picture, [View()], transforms[0].size)[0]
        return make_views(picture, transforms, rngs), None


class PictureDataset(Items[Tensor, Tensor]):
    """The gallery: pictures, (3, rows, columns) each."""

    def __init__(self, files: Sequence[Path], transform: Callable[[Image.Image], Tensor]) -> None:
        self.files, self.transform = list(files), transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(read_picture(self.files[index]))

    def collate(self, items: Sequence[Tensor]) -> Tensor:
        """(N, 3, rows, columns)."""
        return torch.stack(tuple(items))


class TokenDataset(Items[Tensor, Tensor]):
    """The queries: captions as tokens, (L,) each.

    Args:
        text_length: the most tokens of a caption.
        clean: pass captions through `clean_caption` first.
    """

    def __init__(
        self,
        captions: Sequence[str],
        tokenizer: Tokenizer,
        text_length: int,
        clean: bool = True,
    ) -> None:
        self.captions, self.tokenizer = list(captions), tokenizer
        self.text_length, self.clean = text_length, clean

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> Tensor:
        return self.tokenizer([self._prepare(self.captions[index])], self.text_length)[0]

    def _prepare(self, caption: str) -> str:
        words = max(MOST_WORDS, self.text_length)
        return clean_caption(caption, words) if self.clean else caption

    def log_cut(self, name: str, most: int | None = None) -> bool:
        """Log how many captions have more than `text_length` tokens; False if none has.

        Args:
            name: of the captions, in the plural.
            most: captions that are counted, evenly chosen; None: all.
        """
        chosen = self.captions[:: max(1, -(-len(self) // (most or len(self) or 1)))]
        count = count_cut(
            self.tokenizer, [self._prepare(each) for each in chosen], self.text_length
        )
        if count:
            log.warning(
                "%d of %d %s have more than %d tokens and are cut; the end token stays",
                *(count, len(chosen), name + " that were counted" * (len(chosen) < len(self))),
                self.text_length,
            )
        return count > 0

    def collate(self, items: Sequence[Tensor]) -> Tensor:
        """(N, L), cut to the longest caption."""
        return self.tokenizer.trim(torch.stack(tuple(items)))


def count_cut(
    tokenizer: Tokenizer, captions: Sequence[str], length: int, at_once: int = 1024
) -> int:
    """Captions of more than `length` tokens, start and end included."""
    count = 0
    for first in range(0, len(captions), at_once):
        tokens = tokenizer(list(captions[first : first + at_once]), length + 1)
        count += int((tokenizer.lengths(tokens) > length).sum())
    return count
