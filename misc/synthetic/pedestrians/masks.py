"""Masks of the things that a drawn person wears: where each is visible in the picture."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from misc.synthetic.pedestrians.attributes import Item, Person, draw_identity
from misc.synthetic.pedestrians.cameras import draw_camera
from misc.synthetic.pedestrians.chance import Stream, generator
from misc.synthetic.pedestrians.drawing import draw_scene
from misc.synthetic.pedestrians.palette import Colour
from misc.synthetic.pedestrians.plan import Plan
from misc.synthetic.pedestrians.samples import draw_visits
from misc.synthetic.pedestrians.shots import draw_shot, draw_size

GARMENTS = ("hat", "scarf", "upper", "inner", "lower", "shoes", "bag")


def draw_masks(plan: Plan, identity: int, picture: int) -> dict[str, NDArray[np.bool_]]:
    """Masks (rows, columns) of the garments in a picture of a dataset, by their names in `Person`.

    The scene is drawn again with one thing in other colours: the pixels that differ are its own.

    Args:
        picture: the number of the identity's picture, from 0.
    """
    person = draw_identity(plan.seed, identity, plan.difficulty)
    camera = draw_camera(plan.seed, draw_visits(plan, identity)[picture], plan.difficulty)
    rng = generator(plan.seed, Stream.PICTURE, identity, picture)
    shot = draw_shot(rng, camera, plan.difficulty)
    size = draw_size(rng, person, plan.height)

    def draw(other: Person, own: Generator) -> NDArray[np.uint8]:
        return np.asarray(draw_scene(other, shot, size, own))

    scene = draw(person, deepcopy(rng))
    return {
        name: (draw(repainted(person, name), deepcopy(rng)) != scene).any(axis=2)
        for name in GARMENTS
        if getattr(person, name) is not None
    }


def repainted(person: Person, name: str) -> Person:
    """The person with one thing in colours that differ from its own in every channel."""
    item = getattr(person, name)
    assert isinstance(item, Item)
    accent = None if item.accent is None else _other(item.accent)
    changed: dict[str, Any] = {name: replace(item, colour=_other(item.colour), accent=accent)}
    return replace(person, **changed)


def _other(colour: Colour) -> Colour:
    red, green, blue = (value ^ 128 for value in colour.rgb)
    return Colour(colour.name, (red, green, blue))
