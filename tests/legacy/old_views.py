"""The training views of the earlier version, by which its interrupted run goes on as it did then.

An operation takes a float image (3, rows, columns) in [0, 1] and the sample's own generator.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torchvision.transforms.functional as TF
from numpy.random import Generator
from PIL import Image
from torch import Tensor

from misc.data.transforms import TrainTransform, ViewTransform
from misc.data.views import draw_part


def make_views(
    picture: Image.Image, transforms: Sequence[ViewTransform], rngs: Sequence[Generator]
) -> Tensor:
    """`misc.data.transforms.make_views`, as that version would have had it."""
    make = [pool_view if isinstance(t, TrainTransform) else simclr_view for t in transforms]
    return torch.stack(
        [
            TF.normalize(one(picture, t.size, rng), t.mean, t.std)
            for one, t, rng in zip(make, transforms, rngs, strict=True)
        ]
    )


def pool_view(picture: Image.Image, size: tuple[int, int], rng: Generator) -> Tensor:
    image = to_tensor(picture, size, Image.Resampling.BILINEAR)
    for choice in rng.integers(len(IMAGE_POOL), size=2):
        image = IMAGE_POOL[choice](image, rng)
    return image


def simclr_view(picture: Image.Image, size: tuple[int, int], rng: Generator) -> Tensor:
    columns, rows = picture.size
    aspect = columns / rows
    ratio = (3 / 4 / aspect, 4 / 3 / aspect)
    top, left, height, width = draw_part(rows, columns, rng, scale=(0.2, 1.0), ratio=ratio)
    part = picture.crop((left, top, left + width, top + height))
    image = to_tensor(part, size, Image.Resampling.BILINEAR)
    if rng.random() < 0.8:
        image = jitter_color(image, rng, strength=0.4, hue=0.1)
    image = make_gray(image, rng, p=0.2)
    image = blur(image, rng, p=0.5)
    return flip(image, rng, p=0.5)


def to_tensor(picture: Image.Image, size: tuple[int, int], resampling: Image.Resampling) -> Tensor:
    """Resize with antialiasing: (3, rows, columns), float in [0, 1]."""
    rows, columns = size
    return TF.to_tensor(picture.resize((columns, rows), resampling))


def jitter_color(
    image: Tensor, rng: Generator, *, strength: float = 0.1, hue: float = 0.0
) -> Tensor:
    """Change brightness, contrast and saturation, each by a factor within 1 +- strength, and shift
    the hue by a share of the circle within +- hue, in random order.
    """
    factors = (1 - strength, 1 + strength)
    adjust = [
        (TF.adjust_brightness, factors),
        (TF.adjust_contrast, factors),
        (TF.adjust_saturation, factors),
    ]
    if hue:
        adjust.append((TF.adjust_hue, (-hue, hue)))
    for choice in rng.permutation(len(adjust)):
        operation, bounds = adjust[choice]
        image = operation(image, rng.uniform(*bounds))
    return image


def rotate(image: Tensor, rng: Generator, degrees: float = 15.0) -> Tensor:
    """Rotate by an angle within +- degrees; the corners become black."""
    return TF.rotate(
        image, rng.uniform(-degrees, degrees), TF.InterpolationMode.NEAREST, fill=[0.0]
    )


def crop_resized(
    image: Tensor,
    rng: Generator,
    *,
    scale: tuple[float, float] = (0.9, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Tensor:
    """Crop at random and resize to the whole.

    Args:
        scale: range of the crop's share of the area.
        ratio: range of the factor on the picture's aspect; for the squares of the publication this
            is the crop's aspect itself.
    """
    rows, columns = image.shape[-2:]
    top, left, height, width = draw_part(rows, columns, rng, scale=scale, ratio=ratio)
    return TF.resized_crop(image, top, left, height, width, [rows, columns], antialias=True)


def make_gray(image: Tensor, rng: Generator, p: float = 0.1) -> Tensor:
    """Convert to greyscale, with probability p."""
    return TF.rgb_to_grayscale(image, num_output_channels=3) if rng.random() < p else image


def blur(
    image: Tensor, rng: Generator, *, p: float = 0.5, sigma: tuple[float, float] = (0.1, 2.0)
) -> Tensor:
    """Gaussian blur, with probability p.

    Args:
        sigma: range of the standard deviation in pixels; the kernel reaches three deviations, or as
            far as the image allows, which is mirrored at its border.
    """
    if rng.random() >= p:
        return image
    deviation = rng.uniform(*sigma)
    reach = min(math.ceil(3 * deviation), min(image.shape[-2:]) - 1)
    return TF.gaussian_blur(image, [2 * reach + 1] * 2, [deviation] * 2)


def flip(image: Tensor, rng: Generator, p: float = 0.5) -> Tensor:
    """Mirror horizontally, with probability p."""
    return TF.hflip(image) if rng.random() < p else image


def erase(
    image: Tensor,
    rng: Generator,
    *,
    p: float = 0.5,
    scale: tuple[float, float] = (0.1, 0.2),
    ratio: tuple[float, float] = (0.3, 3.3),
    fill: Sequence[float] | None = (0.0,),
) -> Tensor:
    """Overwrite a rectangle, with probability p (Zhong et al. 2020, arXiv 1708.04896).

    Args:
        scale: range of the rectangle's share of the area.
        ratio: range of the rectangle's aspect, rows to columns.
        fill: the new value, one for all channels or one for each; None: normal noise.
    """
    if rng.random() >= p:
        return image
    rows, columns = image.shape[-2:]
    for _ in range(10):
        area = rows * columns * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if height < rows and width < columns:
            top, left = rng.integers(rows - height + 1), rng.integers(columns - width + 1)
            if fill is None:
                noise = rng.standard_normal((len(image), height, width), dtype=np.float32)
                value = torch.from_numpy(noise)
            else:
                value = torch.tensor(fill)[:, None, None]
            return TF.erase(image, int(top), int(left), height, width, value)
    return image


IMAGE_POOL = (jitter_color, rotate, crop_resized, make_gray, flip, erase)
