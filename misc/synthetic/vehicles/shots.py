"""One moment before a camera: which side of a vehicle it sees, and what stands in the way."""

import math
from dataclasses import dataclass, replace

from numpy.random import Generator

from misc.synthetic.pedestrians.cameras import Camera
from misc.synthetic.pedestrians.chance import around, happens, pick

# The sides in the order of VeRi-776's viewpoints, and how far the vehicle is turned (radians).
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
    """`viewpoint` is an index of `SIDES`; `yaw` turns the vehicle to the right of the picture
    (radians); `zoom` and the shifts (in parts of the picture) are those of a careless detector."""

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
    """The same camera on a mast by a road."""
    return replace(camera, place=ROADS[int(camera.hue * len(ROADS))], pitch=camera.pitch + 0.14)
