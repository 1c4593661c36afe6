"""MixGen: one pair of an image and a caption mixed from two (Hao et al., WACV 2023 workshops, arXiv
2206.08358).
"""

from collections.abc import Sequence

import torch
import torchvision.transforms.functional as TF
from torch import Tensor

KINDS = ("cat", "ori")


def mixgen(
    images: Tensor, captions: Sequence[str], kind: str, ratio: float
) -> tuple[Tensor, list[str]]:
    """Mix the first int(ratio * B) pairs of a batch with as many that follow them.

    The images are normalised before; the arguments are not changed.

    Args:
        images: (B, 3, rows, columns), the first views.
        captions: B, before tokenising; mixed ones are joined by a space.
        kind: `ori` averages two images as published, `cat` sets them side by side, each at half
            its width (TBPS-CLIP, Cao et al. 2024).
        ratio: at most 0.5.

    Returns:
        images (B, 3, rows, columns) and B captions.
    """
    assert len(images) == len(captions)
    return mix_images(images, kind, ratio), mix_captions(captions, ratio)


def mix_images(images: Tensor, kind: str, ratio: float) -> Tensor:
    """The images of `mixgen`."""
    assert kind in KINDS, kind
    assert 0 <= ratio <= 0.5, ratio
    num_mixed = int(ratio * len(images))
    if num_mixed == 0:
        return images
    first, second, rest = images[:num_mixed], images[num_mixed : 2 * num_mixed], images[num_mixed:]
    mixed = (first + second) / 2 if kind == "ori" else set_side_by_side(first, second)
    return torch.cat((mixed, rest))


def mix_captions(captions: Sequence[str], ratio: float) -> list[str]:
    """The captions of `mixgen`."""
    num_mixed = int(ratio * len(captions))
    joined = [f"{captions[i]} {captions[num_mixed + i]}" for i in range(num_mixed)]
    return [*joined, *captions[num_mixed:]]


def set_side_by_side(left: Tensor, right: Tensor) -> Tensor:
    """Two images, each at half its width: (N, 3, rows, columns) from two of that shape."""
    rows, columns = left.shape[-2:]
    half = columns // 2
    parts = ((left, half), (right, columns - half))
    return torch.cat(
        [TF.resize(part, [rows, width], antialias=True) for part, width in parts], dim=-1
    )
