"""Image transforms: from a picture to the input of a network.

Random views of text-to-image training are drawn in misc/data/views.py; those of re-identification
are as by Luo et al. 2019 (arXiv 1903.07071).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from numpy.random import Generator
from PIL import Image
from torch import Tensor

from misc.data.rendering import ViewRows, finish_views
from misc.data.views import Box, Statistics, View, draw_from_pool, draw_rectangle, draw_simclr

STATISTICS = {  # mean and standard deviation of the channels
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

Normalize = str | Statistics
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


class ViewTransform(ABC):
    """A random view of a picture: (3, rows, columns).

    Args:
        size: rows, columns.
        normalize: a key of `STATISTICS`, or mean and standard deviation.
    """

    def __init__(self, size: tuple[int, int], normalize: Normalize) -> None:
        self.size = size
        self.mean, self.std = statistics(normalize)

    @abstractmethod
    def draw(self, picture: tuple[int, int], rng: Generator) -> View:
        """Draw a view of a picture of this size, rows and columns."""

    def __call__(self, picture: Image.Image, rng: Generator) -> Tensor:
        return make_views(picture, [self], [rng])[0]


class TrainTransform(ViewTransform):
    """Bilinear resize, two draws from the image pool, normalisation.

    Args:
        augment: draw from the pool; otherwise resize and normalise only.
    """

    def __init__(self, size: tuple[int, int], normalize: Normalize, augment: bool = True) -> None:
        super().__init__(size, normalize)
        self.draws = 2 if augment else 0

    def draw(self, picture: tuple[int, int], rng: Generator) -> View:
        return draw_from_pool(self.size, rng, self.draws)


class SimCLRTransform(ViewTransform):
    """SimCLR's crop, colour jitter, greyscale, blur and mirror, normalisation."""

    def draw(self, picture: tuple[int, int], rng: Generator) -> View:
        return draw_simclr(picture, rng)


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


def draw_views(
    picture: Image.Image, transforms: Sequence[ViewTransform], rngs: Iterable[Generator]
) -> list[View]:
    """A view of a picture by each transform, with a generator of its own."""
    size = (picture.height, picture.width)
    return [t.draw(size, rng) for t, rng in zip(transforms, rngs, strict=True)]


def make_views(
    picture: Image.Image, transforms: Sequence[ViewTransform], rngs: Iterable[Generator]
) -> Tensor:
    """The views of `draw_views`, (V, 3, rows, columns). The transforms have the same size and
    normalisation.
    """
    views, one = draw_views(picture, transforms, rngs), transforms[0]
    images = cut_views(picture, views, one.size)
    return finish_views(images, ViewRows.of(views), torch.tensor(one.mean), torch.tensor(one.std))


def cut_views(picture: Image.Image, views: Sequence[View], size: tuple[int, int]) -> Tensor:
    """Crop, resize with antialiasing, mirror and turn a picture as views say.

    Returns:
        (V, 3, rows, columns), uint8.
    """
    rows, columns = size
    images = torch.empty(len(views), 3, rows, columns, dtype=torch.uint8)
    cuts: dict[Box, Image.Image] = {}
    for view, image in zip(views, images, strict=True):
        if view.box not in cuts:
            left, top, width, height = view.box
            right, bottom = min(left + width, 1), min(top + height, 1)
            box = (
                left * picture.width,
                top * picture.height,
                right * picture.width,
                bottom * picture.height,
            )
            cuts[view.box] = picture.resize((columns, rows), Image.Resampling.BILINEAR, box)
        cut = cuts[view.box]
        if view.mirrored:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if view.angle:
            cut = cut.rotate(view.angle)
        image.copy_(torch.from_numpy(np.array(cut)).permute(2, 0, 1))
    return images


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
    scale: tuple[float, float],
    fill: Sequence[float] | None,
) -> Tensor:
    """Overwrite a rectangle, with probability p (Zhong et al. 2020, arXiv 1708.04896).

    Args:
        scale: range of the rectangle's share of the area.
        fill: the new value of each channel; None: normal noise.
    """
    size = image.shape[-2], image.shape[-1]
    rectangle = draw_rectangle(size, rng, scale=scale) if rng.random() < p else None
    if rectangle is None:
        return image
    if fill is None:
        noise = rng.standard_normal((len(image), *rectangle[2:]), dtype=np.float32)
        value = torch.from_numpy(noise)
    else:
        value = torch.tensor(fill)[:, None, None]
    return TF.erase(image, *rectangle, value)
