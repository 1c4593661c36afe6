"""Random views of pictures: what is drawn for each, before any pixel is touched.

A view is drawn as numbers, so that either the loader's workers make it (misc/data/transforms.py) or
the device that trains, for a whole batch at once (misc/data/rendering.py). Training views are drawn
from the image pool of TBPS-CLIP (Cao et al. 2024, section 3.2), those of the SimCLR loss as by Chen
et al. 2020 (arXiv 2002.05709).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Size = tuple[int, int]  # rows, columns
Statistics = tuple[Sequence[float], Sequence[float]]  # mean and standard deviation of the channels
Box = tuple[float, float, float, float]  # left, top, width, height, in shares of the picture's
Rectangle = tuple[int, int, int, int]  # top, left, height, width, in pixels
Matrix = NDArray[np.float64]

GREY = np.array([0.2989, 0.587, 0.114])  # the share of each channel
# The Y, I and Q of the NTSC standard: brightness, and the plane in which a hue is an angle.
ALL_GREY = np.tile(GREY, (3, 1))
SAME = np.eye(3)
YIQ = np.array([GREY, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
FROM_YIQ = np.linalg.inv(YIQ)
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
MOST_ERASED = 2  # rectangles of a view
NOTHING = np.zeros((3, 3))
NO_RECTANGLE: Rectangle = (0, 0, 0, 0)


@dataclass(frozen=True)
class Color:
    """A linear change of colours: own @ pixel + mean @ (mean pixel of the view).

    Args:
        own: (3, 3).
        mean: (3, 3), by which a contrast keeps the mean of the view.
    """

    own: Matrix
    mean: Matrix

    def then(self, own: Matrix, mean: Matrix = NOTHING) -> "Color":
        """This change, and after it another one, of the colours that it leaves."""
        return Color(own @ self.own, own @ self.mean + mean @ (self.own + self.mean))


UNCHANGED = Color(SAME, NOTHING)


@dataclass(frozen=True)
class View:
    """One view of a picture. Whatever the order of the draws, the steps have this one.

    Args:
        box: the part that is resized to the view.
        mirrored: set left to right.
        angle: by which it is turned then, counterclockwise, in degrees; its corners become black.
        color: the change of its colours, which end between black and white.
        blur: standard deviation of the Gaussian blur, in pixels; 0: none.
        erased: rectangles of the view that become black.
    """

    box: Box = WHOLE
    mirrored: bool = False
    angle: float = 0.0
    color: Color = UNCHANGED
    blur: float = 0.0
    erased: tuple[Rectangle, ...] = ()

    def row(self) -> list[float]:
        """The view as `ViewRows` holds it."""
        erased = (*self.erased, *[NO_RECTANGLE] * MOST_ERASED)[:MOST_ERASED]
        return [
            *self.box,
            self.mirrored,
            self.angle,
            *np.hstack([self.color.own, self.color.mean]).flat,
            self.blur,
            *(side for rectangle in erased for side in rectangle),
        ]


Operation = Callable[[View, Size, Generator], View]


def jitter_color(
    view: View, _: Size, rng: Generator, *, strength: float = 0.1, hue: float = 0.0
) -> View:
    """Change brightness, contrast and saturation, each by a factor within 1 +- strength, and turn
    the hue by a share of the circle within +- hue, in random order.

    The hue turns in the plane of I and Q, and the brightness stays. Published code turns it in that
    of HSV; and it cuts values beyond white after each change, this after all of them.
    """
    color = view.color
    bounds = [(1 - strength, 1 + strength)] * 3 + [(-hue, hue)] * (hue > 0)
    for choice in rng.permutation(len(bounds)):
        amount = rng.uniform(*bounds[choice])
        color = CHANGES[choice](color, amount)
    return replace(view, color=color)


def _brighten(color: Color, factor: float) -> Color:
    return color.then(factor * SAME)


def _contrast(color: Color, factor: float) -> Color:
    return color.then(factor * SAME, (1 - factor) * ALL_GREY)


def _saturate(color: Color, factor: float) -> Color:
    return color.then(factor * SAME + (1 - factor) * ALL_GREY)


def _turn_hue(color: Color, share: float) -> Color:
    angle = 2 * math.pi * share
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
    return color.then(FROM_YIQ @ turn @ YIQ)


CHANGES = (_brighten, _contrast, _saturate, _turn_hue)


def rotate(view: View, _: Size, rng: Generator, degrees: float = 15.0) -> View:
    """Turn by an angle within +- degrees."""
    return replace(view, angle=view.angle + rng.uniform(-degrees, degrees))


def crop_resized(
    view: View,
    size: Size,
    rng: Generator,
    *,
    scale: tuple[float, float] = (0.9, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> View:
    """Crop at random.

    Args:
        size: of the pixels to whose edges the crop is drawn.
        scale: range of the crop's share of the area.
        ratio: range of the factor on the picture's aspect; for the squares of the publication this
            is the crop's aspect itself.
    """
    rows, columns = size
    top, left, height, width = draw_part(rows, columns, rng, scale=scale, ratio=ratio)
    x, y, whole_width, whole_height = view.box
    box = (
        x + whole_width * left / columns,
        y + whole_height * top / rows,
        whole_width * width / columns,
        whole_height * height / rows,
    )
    return replace(view, box=box)


def make_gray(view: View, _: Size, rng: Generator, p: float = 0.1) -> View:
    """Convert to greyscale, with probability p."""
    if rng.random() >= p:
        return view
    return replace(view, color=view.color.then(ALL_GREY))


def blur(
    view: View, _: Size, rng: Generator, *, p: float = 0.5, sigma: tuple[float, float] = (0.1, 2.0)
) -> View:
    """Gaussian blur, with probability p.

    Args:
        sigma: range of the standard deviation, in pixels.
    """
    return replace(view, blur=rng.uniform(*sigma)) if rng.random() < p else view


def flip(view: View, _: Size, rng: Generator, p: float = 0.5) -> View:
    """Mirror horizontally, with probability p."""
    return replace(view, mirrored=not view.mirrored) if rng.random() < p else view


def erase(view: View, size: Size, rng: Generator) -> View:
    """Blacken a rectangle, with probability 0.5 (Zhong et al. 2020, arXiv 1708.04896).

    Args:
        size: of the view.
    """
    rectangle = draw_rectangle(size, rng) if rng.random() < 0.5 else None
    return replace(view, erased=(*view.erased, rectangle)) if rectangle else view


IMAGE_POOL: tuple[Operation, ...] = (jitter_color, rotate, crop_resized, make_gray, flip, erase)


def draw_from_pool(size: Size, rng: Generator, draws: int = 2) -> View:
    """A view by a few operations of the image pool.

    Args:
        size: of the view.
    """
    view = View()
    for choice in rng.integers(len(IMAGE_POOL), size=draws):
        view = IMAGE_POOL[choice](view, size, rng)
    return view


def draw_simclr(picture: Size, rng: Generator) -> View:
    """A view by SimCLR's crop, colour jitter, greyscale, blur and mirror.

    The crop is 0.2 to 1 of the picture's area, with an aspect (columns / rows) of 3/4 to 4/3,
    whatever the aspect of the picture and of the view.
    """
    rows, columns = picture
    aspect = columns / rows
    ratio = (3 / 4 / aspect, 4 / 3 / aspect)
    view = crop_resized(View(), picture, rng, scale=(0.2, 1.0), ratio=ratio)
    if rng.random() < 0.8:
        view = jitter_color(view, picture, rng, strength=0.4, hue=0.1)
    view = make_gray(view, picture, rng, p=0.2)
    return flip(blur(view, picture, rng), picture, rng)


def draw_part(
    rows: int,
    columns: int,
    rng: Generator,
    *,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> Rectangle:
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


def draw_rectangle(
    size: Size,
    rng: Generator,
    *,
    scale: tuple[float, float] = (0.1, 0.2),
    ratio: tuple[float, float] = (0.3, 3.3),
) -> Rectangle | None:
    """A random rectangle to erase; None if ten draws do not fit.

    Args:
        scale: range of its share of the area.
        ratio: range of its aspect, rows to columns.
    """
    rows, columns = size
    for _ in range(10):
        area = rows * columns * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if height < rows and width < columns:
            top, left = rng.integers(rows - height + 1), rng.integers(columns - width + 1)
            return int(top), int(left), height, width
    return None
