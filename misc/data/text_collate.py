"""Collation of text-to-image batches: images stacked, captions mixed, tokenised and masked."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Literal

import torch
from torch import Tensor

from misc.data.drawn import DrawnBatch, ImageMixing
from misc.data.loader import stack
from misc.data.mixgen import mix_captions, mix_images
from misc.data.text import Sample
from misc.data.views import Statistics
from misc.runtime.seeding import Purpose, generator
from model.interface import TextBatch
from text_utils.mask_words import change_tokens, mask_words
from text_utils.tokenizer import Tokenizer


@dataclass(frozen=True)
class Mixing:
    """Settings of MixGen, which is applied to every `rows` samples of a batch by themselves.

    Args:
        kind: `cat` or `ori`.
        p: probability that these samples are mixed at all.
        ratio: share of them that is.
    """

    kind: str
    p: float
    ratio: float
    rows: int


@dataclass(frozen=True)
class TextCollate:
    """The collation of samples to a batch.

    The tokens are cut to the longest caption, which changes nothing under causal attention.

    Args:
        text_length: the most tokens of a caption.
        mixing: settings of MixGen; None: nothing is mixed.
        masking: mask words, for masked language modelling: `tokens` are the masked ones, or those
            without masks with `masked` beside them; None: no word is masked.
        change: probability that a word is masked, replaced or removed as augmentation.
        pads: keep the padding that all captions of a batch share.
        statistics: mean and standard deviation of the channels, for samples whose images are made
            later.
        multiple: what the number of tokens is rounded up to a multiple of, within `text_length`.
    """

    tokenizer: Tokenizer
    text_length: int = 77
    mixing: Mixing | None = None
    masking: Literal["masked", "clean"] | None = None
    change: float = 0.0
    pads: bool = False
    multiple: int = 8
    seed: int = 0
    statistics: Statistics | None = None

    def __call__(self, samples: Sequence[Sample]) -> TextBatch | DrawnBatch:
        mixed = list(self._mixed(samples))
        tokens = self._tokens(samples, mixed)
        masked = labels = None
        if self.masking:
            masked, labels = self._mask(samples, tokens)
            tokens, masked = (tokens, masked) if self.masking == "clean" else (masked, None)
        simclr = [sample.simclr_views for sample in samples if sample.simclr_views is not None]
        batch = TextBatch(
            images=stack([sample.views for sample in samples], dim=1),
            tokens=tokens,
            ids=torch.tensor([sample.identity for sample in samples]),
            simclr_images=stack(simclr, dim=1) if simclr else None,
            labels=labels,
            masked_tokens=masked,
            indices=torch.tensor([sample.key[1] for sample in samples]),
        )
        pictures = [sample.picture for sample in samples if sample.picture is not None]
        if pictures:
            return DrawnBatch(stack(pictures), batch, torch.tensor(self.statistics), mixed)
        for rows, kind, ratio in mixed:
            batch.images[0, rows] = mix_images(batch.images[0, rows], kind, ratio)
        return batch

    def _mixed(self, samples: Sequence[Sample]) -> Iterator[ImageMixing]:
        """Draw where first views and captions are mixed: every `rows` samples have a draw of their
        own, by the key of the first.
        """
        if self.mixing is None:
            return
        kind, p, ratio, size = astuple(self.mixing)
        for first in range(0, len(samples), size):
            if generator(self.seed, Purpose.MIX, *samples[first].key).random() < p:
                yield ImageMixing(slice(first, first + size), kind, ratio)

    def _tokens(self, samples: Sequence[Sample], mixed: Sequence[ImageMixing]) -> Tensor:
        """The tokens, before any are masked."""
        captions = [sample.caption for sample in samples]
        for rows, _, ratio in mixed:
            captions[rows] = mix_captions(captions[rows], ratio)
        tokens = self.tokenizer(captions, self.text_length)
        if self.change:
            tokens = self._change(samples, tokens)
        # For the decoder not cut: its attention is not causal and sees the padding.
        return tokens if self.masking or self.pads else self.tokenizer.trim(tokens, self.multiple)

    def _change(self, samples: Sequence[Sample], tokens: Tensor) -> Tensor:
        lengths = self.tokenizer.lengths(tokens).tolist()
        rows = [
            change_tokens(
                row, length, generator(self.seed, Purpose.TOKENS, *sample.key), self.change
            )
            for row, length, sample in zip(tokens, lengths, samples, strict=True)
        ]
        return torch.stack(rows)

    def _mask(self, samples: Sequence[Sample], tokens: Tensor) -> tuple[Tensor, Tensor]:
        lengths = self.tokenizer.lengths(tokens).tolist()
        pairs = [
            mask_words(row, length, generator(self.seed, Purpose.MASK, *sample.key))
            for row, length, sample in zip(tokens, lengths, samples, strict=True)
        ]
        masked, labels = zip(*pairs, strict=True)
        return torch.stack(masked), torch.stack(labels)
