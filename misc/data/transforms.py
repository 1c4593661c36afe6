"""Image transforms: from a picture to the input of a network.

Training views are drawn from the image pool of TBPS-CLIP (Cao et al. 2024, section 3.2), those of
the SimCLR loss as by Chen et al. 2020 (arXiv 2002.05709), those of re-identification as by Luo et
al. 2019 (arXiv 1903.07071). An operation takes a float image (3, rows, columns), in [0, 1] before
the normalisation, and the sample's own generator.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from numpy.random import Generator
from PIL import Image
from torch import Tensor

STATISTICS = {  # mean and standard deviation of the channels
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

Statistics = tuple[Sequence[float], Sequence[float]]
Normalize = str | Statistics
Operation = Callable[[Tensor, Generator], Tensor]
Augmentation = Callable[[Image.Image, Generator], Tensor]


class EvaluationTransform:
    """Resize and normalisation: (3, rows, columns).

    Args:
        size: rows, columns.
        normalize: a key of `STATISTICS`, or mean and standard deviation.
        resampling: of the resize.
    """

    def __init__(
        self,
        size: tuple[int, int],
        normalize: Normalize,
        resampling: Image.Resampling = Image.Resampling.BICUBIC,
    ) -> None:
        self.size, self.resampling = size, resampling
        self.mean, self.std = statistics(normalize)

    def __call__(self, picture: Image.Image) -> Tensor:
        return TF.normalize(to_tensor(picture, self.size, self.resampling), self.mean, self.std)


class CentreCropTransform:
    """Resize until the picture covers `size`, centre crop, normalisation: (3, rows, columns).

    For a square `size`, as CLIP's and AltCLIP's processors do.

    Args:
        size: rows, columns.
        normalize: a key of `STATISTICS`, or mean and standard deviation.
        resampling: of the resize.
    """

    def __init__(
        self, size: tuple[int, int], normalize: Normalize, resampling: Image.Resampling
    ) -> None:
        self.size, self.resampling = size, resampling
        self.mean, self.std = statistics(normalize)

    def __call__(self, picture: Image.Image) -> Tensor:
        rows, columns = self.size
        if rows * picture.width > columns * picture.height:
            columns = picture.width * rows // picture.height
        else:
            rows = picture.height * columns // picture.width
        image = to_tensor(picture, (rows, columns), self.resampling)
        top, left = (rows - self.size[0]) // 2, (columns - self.size[1]) // 2
        image = TF.crop(image, top, left, *self.size)
        return TF.normalize(image, self.mean, self.std)


class TrainTransform:
    """Bilinear resize, two draws from the image pool, normalisation: (3, rows, columns).

    Args:
        size: rows, columns.
        normalize: a key of `STATISTICS`, or mean and standard deviation.
        augment: draw from the pool; otherwise resize and normalise only.
    """

    def __init__(self, size: tuple[int, int], normalize: Normalize, augment: bool = True) -> None:
        self.size = size
        self.mean, self.std = statistics(normalize)
        self.draws = 2 if augment else 0

    def __call__(self, picture: Image.Image, rng: Generator) -> Tensor:
        image = to_tensor(picture, self.size, Image.Resampling.BILINEAR)
        for choice in rng.integers(len(IMAGE_POOL), size=self.draws):
            image = IMAGE_POOL[choice](image, rng)
        return TF.normalize(image, self.mean, self.std)


class SimCLRTransform:
    """Crop, colour jitter, greyscale, blur, mirror, normalisation: (3, rows, columns).

    The crop is SimCLR's: 0.2 to 1 of the picture's area, with an aspect (columns / rows) of 3/4 to
    4/3, whatever the aspect of the picture and of `size`.

    Args:
        size: rows, columns.
        normalize: a key of `STATISTICS`, or mean and standard deviation.
    """

    def __init__(self, size: tuple[int, int], normalize: Normalize) -> None:
        self.size = size
        self.mean, self.std = statistics(normalize)

    def __call__(self, picture: Image.Image, rng: Generator) -> Tensor:
        columns, rows = picture.size
        aspect = columns / rows
        ratio = (3 / 4 / aspect, 4 / 3 / aspect)
        top, left, height, width = draw_part(rows, columns, rng, scale=(0.2, 1.0), ratio=ratio)
        part = picture.crop((left, top, left + width, top + height))
        image = to_tensor(part, self.size, Image.Resampling.BILINEAR)
        if rng.random() < 0.8:
            image = jitter_color(image, rng, strength=0.4, hue=0.1)
        image = make_gray(image, rng, p=0.2)
        image = blur(image, rng, p=0.5)
        image = flip(image, rng, p=0.5)
        return TF.normalize(image, self.mean, self.std)


class ReIDTransform:
    """Resize, mirror, padded crop, normalisation, random erasing: (3, rows, columns).

    The defaults are those of CLIP-ReID (Li et al. 2023, arXiv 2211.13977).

    Args:
        size: rows, columns.
        normalize: a key of `STATISTICS`, or mean and standard deviation.
        resampling: of the resize.
        erased: range of the erased rectangle's share of the area.
        fill: a normalised value for each channel of the rectangle; None: normal noise in every
            pixel.
    """

    def __init__(
        self,
        size: tuple[int, int],
        normalize: Normalize,
        resampling: Image.Resampling = Image.Resampling.BICUBIC,
        *,
        erased: tuple[float, float] = (0.02, 1 / 3),
        fill: Sequence[float] | None = None,
    ) -> None:
        self.size, self.resampling = size, resampling
        self.mean, self.std = statistics(normalize)
        self.erased, self.fill = erased, fill

    def __call__(self, picture: Image.Image, rng: Generator) -> Tensor:
        image = to_tensor(picture, self.size, self.resampling)
        image = shift(flip(image, rng), rng)
        image = TF.normalize(image, self.mean, self.std)
        return erase(image, rng, scale=self.erased, fill=self.fill)


def build_erasing(size: tuple[int, int], normalize: Normalize) -> ReIDTransform:
    """The augmentation of CSKT: mirror, padded crop, and erasing with the mean colour.

    The rectangle is filled after the normalisation, as published, with the mean of the pixels.
    """
    mean = STATISTICS["clip"][0]
    return ReIDTransform(size, normalize, Image.Resampling.BILINEAR, erased=(0.02, 0.4), fill=mean)


def statistics(normalize: Normalize) -> Statistics:
    """Mean and standard deviation of the channels."""
    return STATISTICS[normalize] if isinstance(normalize, str) else normalize


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


def draw_part(
    rows: int,
    columns: int,
    rng: Generator,
    *,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[int, int, int, int]:
    """A random crop: top, left, height, width.

    If ten draws do not fit into the picture, it is the largest central crop of the nearest aspect,
    as in torchvision's RandomResizedCrop.

    Args:
        scale: range of the crop's share of the area.
        ratio: range of the factor on the picture's aspect.
    """
    for _ in range(10):
        area = rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        height, width = (
            round(rows * math.sqrt(area / aspect)),
            round(columns * math.sqrt(area * aspect)),
        )
        if 0 < height <= rows and 0 < width <= columns:
            top, left = rng.integers(rows - height + 1), rng.integers(columns - width + 1)
            return int(top), int(left), height, width
    aspect = min(max(1.0, ratio[0]), ratio[1])
    height = max(1, min(rows, round(rows / aspect)))
    width = max(1, min(columns, round(columns * aspect)))
    return (rows - height) // 2, (columns - width) // 2, height, width


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


def shift(image: Tensor, rng: Generator, reach: int = 10) -> Tensor:
    """Shift by up to `reach` pixels along both axes, padded with black."""
    rows, columns = image.shape[-2:]
    top, left = rng.integers(2 * reach + 1, size=2)
    return F.pad(image, [reach] * 4)[:, top : top + rows, left : left + columns]


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


IMAGE_POOL: tuple[Operation, ...] = (jitter_color, rotate, crop_resized, make_gray, flip, erase)
