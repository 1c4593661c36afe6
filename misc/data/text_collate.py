"""Collation of text-to-image batches: images stacked, captions mixed, tokenised and masked."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from misc.data.mixgen import mixgen
from misc.data.text import Sample
from misc.runtime.seeding import Purpose, generator
from model.interface import TextBatch
from text_utils.mask_words import mask_words
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
        masking: mask words, for masked language modelling.
        multiple: what the number of tokens is rounded up to a multiple of, within `text_length`.
    """

    tokenizer: Tokenizer
    text_length: int = 77
    mixing: Mixing | None = None
    masking: bool = False
    multiple: int = 8
    seed: int = 0

    def __call__(self, samples: Sequence[Sample]) -> TextBatch:
        images = torch.stack([sample.views for sample in samples], dim=1)
        captions = [sample.caption for sample in samples]
        if self.mixing:
            images, captions = self._mix(samples, images, captions, self.mixing)
        tokens, labels = self.tokenizer(captions, self.text_length), None
        if self.masking:  # not cut: the decoder's attention is not causal and sees the padding
            tokens, labels = self._mask(samples, tokens)
        else:
            tokens = self.tokenizer.trim(tokens, self.multiple)
        simclr = [sample.simclr_views for sample in samples if sample.simclr_views is not None]
        return TextBatch(
            images=images,
            tokens=tokens,
            ids=torch.tensor([sample.identity for sample in samples]),
            simclr_images=torch.stack(simclr, dim=1) if simclr else None,
            labels=labels,
        )

    def _mix(
        self, samples: Sequence[Sample], images: Tensor, captions: list[str], mixing: Mixing
    ) -> tuple[Tensor, list[str]]:
        """Mix the first views and the captions of every `rows` samples, by the key of the first."""
        first_view, mixed_captions = [], []
        for first in range(0, len(samples), mixing.rows):
            rows = slice(first, first + mixing.rows)
            rng = generator(self.seed, Purpose.MIX, *samples[first].key)
            part = images[0, rows], captions[rows]
            if rng.random() < mixing.p:
                part = mixgen(*part, mixing.kind, mixing.ratio)
            first_view.append(part[0])
            mixed_captions += part[1]
        return torch.cat([torch.cat(first_view)[None], images[1:]]), mixed_captions

    def _mask(self, samples: Sequence[Sample], tokens: Tensor) -> tuple[Tensor, Tensor]:
        lengths = self.tokenizer.lengths(tokens).tolist()
        pairs = [
            mask_words(row, length, generator(self.seed, Purpose.MASK, *sample.key))
            for row, length, sample in zip(tokens, lengths, samples, strict=True)
        ]
        masked, labels = zip(*pairs, strict=True)
        return torch.stack(masked), torch.stack(labels)
