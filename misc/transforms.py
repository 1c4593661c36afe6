"""From a picture file's pixels to a network's input.

Training views are drawn from the image pool of TBPS-CLIP (Cao et al. 2024, section 3.2). Each
operation takes a float image (3, rows, columns) in [0, 1] and the sample's own generator.
"""

import math
from collections.abc import Callable

import torch
import torchvision.transforms.functional as TF
from numpy.random import Generator
from PIL import Image
from torch import Tensor

STATISTICS = {  # mean and deviation of the channels
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}

Operation = Callable[[Tensor, Generator], Tensor]


class EvaluationTransform:
    """Bicubic resize, normalisation: (3, rows, columns).

    Args:
        size: rows, columns.
        normalize: a key of `STATISTICS`.
    """

    def __init__(self, size: tuple[int, int], normalize: str) -> None:
        self.size = size
        self.mean, self.std = STATISTICS[normalize]

    def __call__(self, picture: Image.Image) -> Tensor:
        return TF.normalize(
            to_tensor(picture, self.size, Image.Resampling.BICUBIC), self.mean, self.std
        )


class TrainTransform:
    """Bilinear resize, two draws from the image pool, normalisation: (3, rows, columns).

    Args:
        size: rows, columns.
        normalize: a key of `STATISTICS`.
        augment: whether anything is drawn at all.
    """

    def __init__(self, size: tuple[int, int], normalize: str, augment: bool = True) -> None:
        self.size = size
        self.mean, self.std = STATISTICS[normalize]
        self.draws = 2 if augment else 0

    def __call__(self, picture: Image.Image, rng: Generator) -> Tensor:
        image = to_tensor(picture, self.size, Image.Resampling.BILINEAR)
        for choice in rng.integers(len(IMAGE_POOL), size=self.draws):
            image = IMAGE_POOL[choice](image, rng)
        return TF.normalize(image, self.mean, self.std)


def to_tensor(picture: Image.Image, size: tuple[int, int], resampling: Image.Resampling) -> Tensor:
    """Resize with antialiasing: (3, rows, columns), float in [0, 1]."""
    rows, columns = size
    return TF.to_tensor(picture.resize((columns, rows), resampling))


def jitter_color(image: Tensor, rng: Generator, strength: float = 0.1) -> Tensor:
    """Change brightness, contrast and saturation, in any order, each by a factor within 1 +-
    strength.
    """
    adjust = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation)
    for choice in rng.permutation(len(adjust)):
        image = adjust[choice](image, rng.uniform(1 - strength, 1 + strength))
    return image


def rotate(image: Tensor, rng: Generator, degrees: float = 15.0) -> Tensor:
    """Turn by an angle within +- degrees; the corners become black."""
    return TF.rotate(
        image, rng.uniform(-degrees, degrees), TF.InterpolationMode.NEAREST, fill=[0.0]
    )


def crop_resized(
    image: Tensor,
    rng: Generator,
    scale: tuple[float, float] = (0.9, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Tensor:
    """Crop a part and resize it to the whole.

    Args:
        scale: range of the part's area.
        ratio: range of the factor on the picture's aspect; for the square of the publication, the
            part's aspect itself.
    """
    rows, columns = image.shape[-2:]
    for _ in range(10):
        area = rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        height, width = (
            round(rows * math.sqrt(area / aspect)),
            round(columns * math.sqrt(area * aspect)),
        )
        if 0 < height <= rows and 0 < width <= columns:
            top, left = rng.integers(rows - height + 1), rng.integers(columns - width + 1)
            return TF.resized_crop(
                image, int(top), int(left), height, width, [rows, columns], antialias=True
            )
    return image


def make_gray(image: Tensor, rng: Generator, p: float = 0.1) -> Tensor:
    """Take the colours away, with probability p."""
    return TF.rgb_to_grayscale(image, num_output_channels=3) if rng.random() < p else image


def flip(image: Tensor, rng: Generator, p: float = 0.5) -> Tensor:
    """Mirror left and right, with probability p."""
    return TF.hflip(image) if rng.random() < p else image


def erase(
    image: Tensor,
    rng: Generator,
    p: float = 0.5,
    scale: tuple[float, float] = (0.1, 0.2),
    ratio: tuple[float, float] = (0.3, 3.3),
) -> Tensor:
    """Blacken a rectangle, with probability p (Zhong et al. 2020, arXiv 1708.04896).

    Args:
        scale: range of the rectangle's part of the area.
        ratio: range of the rectangle's aspect, rows to columns.
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
            return TF.erase(image, int(top), int(left), height, width, torch.zeros(()))
    return image


IMAGE_POOL: tuple[Operation, ...] = (jitter_color, rotate, crop_resized, make_gray, flip, erase)
