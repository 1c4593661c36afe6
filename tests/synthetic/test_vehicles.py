"""The synthetic vehicles: what belongs to one is seen from the right sides, in every picture."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from misc.synthetic.pedestrians import draw_camera
from misc.synthetic.pedestrians.chance import Stream, generator
from misc.synthetic.pedestrians.palette import CLOTH, Colour
from misc.synthetic.vehicles import Vehicle, draw_picture, draw_shot, draw_vehicle
from misc.synthetic.vehicles.attributes import CHANGEABLE, KINDS, Sticker, look_alike
from misc.synthetic.vehicles.shots import SIDES

RED = Colour("red", CLOTH["red"])
BLUE = Colour("blue", CLOTH["blue"])


def plain(kind: str) -> Vehicle:
    return replace(
        draw_vehicle(0, 0, 0.0),
        kind=kind,
        paint=RED,
        second=None,
        load=None,
        stripe=None,
        emblem=None,
        ornament=None,
        stickers=(),
    )


def picture(vehicle: Vehicle, side: str, number: int = 0) -> Image.Image:
    """From exactly that side, at difficulty 0, with nothing in the way."""
    rng = generator(0, Stream.PICTURE, number)
    shot = draw_shot(rng, draw_camera(0, number, 0.0), 0.0)
    yaw = dict(SIDES)[side]
    return draw_picture(vehicle, replace(shot, yaw=yaw, occluder=None), (64, 64), rng)


@pytest.mark.parametrize("kind", KINDS)
def test_the_paint_is_seen_from_every_side(kind):
    for number, (side, _) in enumerate(SIDES):
        pixels = np.asarray(picture(plain(kind), side, number), dtype=float)
        red = pixels[..., 0] > 1.8 * pixels[..., 1:].max(axis=-1)
        assert red.mean() > 0.15, side


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("place", "hidden"),
    [
        ("left", {"right", "right front", "right rear"}),
        ("right", {"left", "left front", "left rear"}),
        ("windscreen", {"rear", "left rear", "right rear"}),
        ("rear", {"front", "left front", "right front"}),
    ],
)
def test_a_sticker_is_hidden_from_the_other_side(kind, place, hidden):
    without = plain(kind)
    sticker = Sticker(place, along=0.4, down=0.4, size=0.2, colour=BLUE)
    marked = replace(without, stickers=(sticker,))
    showing = {side for side, _ in SIDES if picture(marked, side) != picture(without, side)}
    assert not showing & hidden
    assert len(showing) >= 3


@pytest.mark.parametrize(
    "change",
    [
        {"second": BLUE},
        {"stripe": BLUE},
        {"ornament": BLUE},
        {"shade": 1.0},
        {"dark_bumper": True},
        {"rim": (236, 236, 236)},
        {"stretch": (1.05, 1.05)},
        {"paint": BLUE},
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_every_attribute_shows(kind, change):
    before = replace(plain(kind), shade=0.0, dark_bumper=False, rim=(60, 60, 64), stretch=(1, 1))
    after = replace(before, **change)
    assert any(picture(before, side) != picture(after, side) for side in ("left front", "front"))


def test_a_picture_depends_on_its_generator_alone():
    vehicle, camera = draw_vehicle(1, 2, 0.5), draw_camera(1, 0, 0.5)
    pictures = []
    for _ in range(2):
        rng = generator(1, Stream.PICTURE, 2, 0)
        pictures.append(draw_picture(vehicle, draw_shot(rng, camera, 0.5), (40, 60), rng))
    assert pictures[0] == pictures[1]
    assert 40 <= pictures[0].height <= 60


def test_every_kind_load_and_side_is_drawn():
    seen: set[object] = set()
    for number in range(120):
        vehicle = draw_vehicle(11, number, 0.0)
        rng = generator(11, Stream.PICTURE, number)
        shot = draw_shot(rng, draw_camera(11, number, 1.0), 1.0)
        draw_picture(vehicle, shot, (32, 32), rng)
        seen |= {vehicle.kind, shot.viewpoint, shot.occluder}
        seen |= {item.kind for item in (vehicle.load, vehicle.emblem) if item}
    things = {"rails", "box", "sign", "disc", "square", "diamond", "bush", "wall", "pole", None}
    assert {*KINDS, *range(8), *things} <= seen


def test_look_alikes_are_of_one_model_and_differ_in_details():
    vehicle = draw_vehicle(5, 0, 0.0)
    for number in range(20):
        other = look_alike(vehicle, np.random.default_rng(number), changes=3)
        assert (other.kind, other.paint, other.stretch) == (
            vehicle.kind,
            vehicle.paint,
            vehicle.stretch,
        )
        changed = [part for part in CHANGEABLE if getattr(vehicle, part) != getattr(other, part)]
        assert len(changed) == 3


def test_there_are_more_look_alikes_the_higher_the_difficulty():
    models = [
        len({(v.kind, v.stretch) for v in (draw_vehicle(2, n, difficulty) for n in range(100))})
        for difficulty in (0.0, 0.5, 1.0)
    ]
    assert models[0] == 100
    assert models[0] > models[1] > models[2]
    assert models[2] < 60
