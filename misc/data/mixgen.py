"""MixGen: new pairs of a picture and a caption out of two (Hao et al., WACV 2023
workshops, arXiv 2206.08358)."""

from collections.abc import Sequence

import torch
import torchvision.transforms.functional as TF
from torch import Tensor

KINDS = ("cat", "ori")


def mixgen(
    images: Tensor, captions: Sequence[str], kind: str, ratio: float
) -> tuple[Tensor, list[str]]:
    """Mix the first int(ratio * B) pairs of a batch with as many that follow them.

    The images are normalised already, and not once more. What comes in is left as it is.

    Args:
        images: (B, 3, rows, columns), the first views.
        captions: B, before tokenising; the mixed ones are joined by a space.
        kind: `ori` averages two images as published, `cat` sets them side by side, each half as
            wide (TBPS-CLIP, Cao et al. 2024).
        ratio: at most 0.5.

    Returns:
        images (B, 3, rows, columns) and B captions.
    """
    assert kind in KINDS, kind
    assert 0 <= ratio <= 0.5, ratio
    assert len(images) == len(captions)
    number = int(ratio * len(images))
    if number == 0:
        return images, list(captions)
    first, second, rest = images[:number], images[number : 2 * number], images[number:]
    mixed = (first + second) / 2 if kind == "ori" else set_side_by_side(first, second)
    joined = [f"{captions[i]} {captions[number + i]}" for i in range(number)]
    return torch.cat((mixed, rest)), [*joined, *captions[number:]]


def set_side_by_side(left: Tensor, right: Tensor) -> Tensor:
    """Each made half as wide: (N, 3, rows, columns) from two of that shape."""
    rows, columns = left.shape[-2:]
    half = columns // 2
    parts = ((left, half), (right, columns - half))
    return torch.cat(
        [TF.resize(part, [rows, width], antialias=True) for part, width in parts], dim=-1
    )
