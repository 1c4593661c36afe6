"""Named colours, random shades of them, and lighter and darker colours."""

from functools import lru_cache
from typing import NamedTuple

from numpy.random import Generator

from misc.synthetic.pedestrians.chance import around, pick

RGB = tuple[int, int, int]


class Colour(NamedTuple):
    """A named colour: captions have the name, images the shade."""

    name: str
    rgb: RGB


CLOTH: dict[str, RGB] = {
    "red": (200, 36, 42),
    "orange": (236, 124, 28),
    "yellow": (244, 208, 56),
    "green": (46, 138, 68),
    "blue": (42, 96, 206),
    "navy": (26, 36, 86),
    "light blue": (140, 194, 234),
    "purple": (120, 60, 158),
    "pink": (242, 140, 176),
    "brown": (116, 72, 42),
    "beige": (216, 190, 148),
    "white": (242, 242, 240),
    "grey": (142, 144, 148),
    "black": (32, 32, 36),
}
HAIR: dict[str, RGB] = {
    "black": (30, 26, 28),
    "brown": (98, 60, 34),
    "blonde": (230, 190, 104),
    "red": (180, 76, 32),
    "grey": (176, 176, 180),
}
SKIN: tuple[RGB, ...] = (
    (250, 220, 196),
    (240, 202, 170),
    (226, 180, 142),
    (198, 146, 106),
    (150, 102, 70),
    (104, 68, 48),
)
# Words for vague descriptions; other colours are `bright`.
TONES: dict[str, str] = {
    "navy": "dark",
    "brown": "dark",
    "black": "dark",
    "purple": "dark",
    "grey": "light",
    "light blue": "light",
    "pink": "light",
    "beige": "light",
    "white": "light",
    "blonde": "light",
}


def tone(name: str) -> str:
    """The tone of a named colour: `dark`, `light` or `bright`."""
    return TONES.get(name, "bright")


def dye(rng: Generator, name: str, palette: dict[str, RGB] = CLOTH, spread: float = 9.0) -> Colour:
    """Draw a shade of the named colour, close enough to keep its name."""
    light = around(rng, spread)
    red, green, blue = (_byte(value + light + around(rng, spread / 2)) for value in palette[name])
    return Colour(name, (red, green, blue))


def complexion(rng: Generator) -> RGB:
    return pick(rng, SKIN)


@lru_cache(4096)
def mix(first: RGB, second: RGB, share: float) -> RGB:
    """Mix a share of `second` into `first`."""
    red, green, blue = (_byte(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def darken(rgb: RGB, share: float) -> RGB:
    return mix(rgb, (0, 0, 0), share)


def lighten(rgb: RGB, share: float) -> RGB:
    return mix(rgb, (255, 255, 255), share)


def contour(rgb: RGB) -> RGB:
    """The contour colour of a shape: darker, but lighter for black, on which it would vanish."""
    dark = sum(rgb) < 150
    return lighten(rgb, 0.22) if dark else darken(rgb, 0.38)


def _byte(value: float) -> int:
    return int(min(255.0, max(0.0, value + 0.5)))
