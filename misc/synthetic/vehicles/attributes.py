"""Attributes of a vehicle, the same in all images of an identity."""

from dataclasses import dataclass, replace

from numpy.random import Generator

from misc.synthetic.pedestrians.attributes import Item
from misc.synthetic.pedestrians.chance import (
    Stream,
    around,
    between,
    generator,
    happens,
    pick,
    pick_weighted,
)
from misc.synthetic.pedestrians.palette import CLOTH, RGB, Colour, dye

FAMILY_SIZE = 4
KINDS = {
    "sedan": 4.0,
    "hatchback": 2.0,
    "suv": 2.5,
    "pickup": 1.2,
    "van": 1.6,
    "bus": 1.0,
    "truck": 1.4,
}
PAINTS: dict[str, RGB] = CLOTH | {"silver": (190, 194, 198)}
PAINT_WEIGHTS = {
    "white": 4.0,
    "black": 3.0,
    "silver": 3.0,
    "grey": 2.0,
    "red": 2.0,
    "blue": 2.0,
    "yellow": 1.2,
    "green": 1.0,
    "brown": 1.0,
    "navy": 1.0,
    "orange": 0.6,
}
RIMS: tuple[RGB, ...] = ((196, 198, 202), (60, 60, 64), (236, 236, 236), (176, 140, 60))
LOADS = {"none": 5.0, "rails": 2.0, "box": 1.2, "sign": 1.0}
EMBLEMS = {"none": 4.0, "disc": 1.0, "square": 1.0, "diamond": 1.0}
STICKER_PLACES = ("windscreen", "rear window", "left", "right", "bonnet", "rear")


@dataclass(frozen=True)
class Sticker:
    """A sticker; `along` and `down` are its relative position on the surface `place`."""

    place: str
    along: float
    down: float
    size: float
    colour: Colour


@dataclass(frozen=True)
class Vehicle:
    """An identity.

    Args:
        stretch: factors of length and height.
        second: colour of a two-tone roof, or of a truck's cargo box.
        emblem: on both sides.
        ornament: behind the windscreen.
        shade: darkness of the glass, from 0 to 1.
    """

    kind: str
    stretch: tuple[float, float]
    paint: Colour
    second: Colour | None
    load: Item | None
    stripe: Colour | None
    emblem: Item | None
    ornament: Colour | None
    stickers: tuple[Sticker, ...]
    rim: RGB
    shade: float
    dark_bumper: bool


# Parts in which look-alikes may differ.
CHANGEABLE = (
    "second",
    "load",
    "stripe",
    "emblem",
    "ornament",
    "stickers",
    "rim",
    "shade",
    "dark_bumper",
)


def draw_vehicle(seed: int, identity: int, difficulty: float) -> Vehicle:
    """The vehicle with this number, either independent or one of a family of look-alikes, which
    have the same model and paint.

    Args:
        difficulty: at 0 all vehicles are independent; towards 1 nearly all have look-alikes, which
            differ in fewer parts.
    """
    rng = generator(seed, Stream.VEHICLE, identity)
    if not happens(rng, 0.8 * difficulty):
        return _draw_new(rng)
    ancestor = _draw_new(generator(seed, Stream.FLEET, identity // FAMILY_SIZE))
    return look_alike(ancestor, rng, changes=round(5 - 3 * difficulty))


def look_alike(vehicle: Vehicle, rng: Generator, changes: int) -> Vehicle:
    """A vehicle with `changes` different parts."""
    other = _draw_new(rng)
    parts = [part for part in CHANGEABLE if getattr(vehicle, part) != getattr(other, part)]
    chosen = [str(part) for part in rng.permutation(parts)[:changes]]
    return replace(vehicle, **{part: getattr(other, part) for part in chosen})


def _draw_new(rng: Generator) -> Vehicle:
    paint = dye(rng, pick_weighted(rng, PAINT_WEIGHTS), PAINTS, 12)
    load = pick_weighted(rng, LOADS)
    emblem = pick_weighted(rng, EMBLEMS)
    return Vehicle(
        kind=pick_weighted(rng, KINDS),
        stretch=(1.0 + around(rng, 0.07), 1.0 + around(rng, 0.06)),
        paint=paint,
        second=_draw_colour(rng, paint) if happens(rng, 0.3) else None,
        load=None if load == "none" else Item(load, _draw_colour(rng, paint)),
        stripe=_draw_colour(rng, paint) if happens(rng, 0.25) else None,
        emblem=None if emblem == "none" else Item(emblem, _draw_colour(rng, paint)),
        ornament=_draw_colour(rng, paint) if happens(rng, 0.4) else None,
        stickers=tuple(_draw_sticker(rng, paint) for _ in range(int(rng.integers(0, 4)))),
        rim=pick(rng, RIMS),
        shade=between(rng, 0.0, 1.0),
        dark_bumper=happens(rng, 0.4),
    )


def _draw_sticker(rng: Generator, paint: Colour) -> Sticker:
    return Sticker(
        place=pick(rng, STICKER_PLACES),
        along=between(rng, 0.15, 0.85),
        down=between(rng, 0.25, 0.7),
        size=between(rng, 0.12, 0.24),
        colour=_draw_colour(rng, paint),
    )


def _draw_colour(rng: Generator, paint: Colour) -> Colour:
    """Draw a colour other than the paint's."""
    return dye(rng, pick(rng, [name for name in CLOTH if name != paint.name]))
