"""Pairs of images and captions, as the losses between them take them."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

Reduction = Callable[[Tensor], Tensor]  # the terms of the pairs (B,) -> the loss


class Pairs(NamedTuple):
    """Images and captions of a batch, paired by row."""

    image: Tensor  # (B, D)
    text: Tensor  # (B, D)
    ids: Tensor  # (B,)
