"""Shots: viewpoint, framing and occlusion of a vehicle in one image."""

import math
from dataclasses import dataclass, replace

from numpy.random import Generator

from misc.synthetic.pedestrians.cameras import Camera
from misc.synthetic.pedestrians.chance import around, happens, pick

# VeRi-776's viewpoints in order, with the yaw of the vehicle in radians.
SIDES = (
    ("front", 0.0),
    ("rear", math.pi),
    ("left", -math.pi / 2),
    ("left front", -math.pi / 4),
    ("left rear", -3 * math.pi / 4),
    ("right", math.pi / 2),
    ("right front", math.pi / 4),
    ("right rear", 3 * math.pi / 4),
)
ROADS = ("street", "plaza", "crossing")
OCCLUDERS = ("bush", "wall", "pole")


@dataclass(frozen=True)
class Shot:
    """Viewpoint and framing of one image.

    Args:
        viewpoint: an index of `SIDES`.
        yaw: rotation in radians, from facing the camera towards the right of the image.
        zoom, shift_x, shift_y: error of the detector's box; shifts are in parts of the image size.
    """

    camera: Camera
    viewpoint: int
    yaw: float
    zoom: float
    shift_x: float
    shift_y: float
    occluder: str | None


def draw_shot(rng: Generator, camera: Camera, difficulty: float) -> Shot:
    viewpoint = int(rng.integers(len(SIDES)))
    loose = 0.5 + difficulty
    occluder = pick(rng, OCCLUDERS)
    return Shot(
        camera=at_road(camera),
        viewpoint=viewpoint,
        yaw=SIDES[viewpoint][1] + around(rng, 0.2),
        zoom=1.0 + around(rng, 0.06 * loose),
        shift_x=around(rng, 0.03 * loose),
        shift_y=around(rng, 0.03 * loose),
        occluder=occluder if happens(rng, 0.04 + 0.3 * difficulty) else None,
    )


def at_road(camera: Camera) -> Camera:
    """The same camera, higher up and by a road."""
    return replace(camera, place=ROADS[int(camera.hue * len(ROADS))], pitch=camera.pitch + 0.14)
