"""Shots: pose, framing and occlusion of a person in one image."""

import math
from dataclasses import dataclass

from numpy.random import Generator

from misc.synthetic.pedestrians.attributes import Person
from misc.synthetic.pedestrians.cameras import Camera
from misc.synthetic.pedestrians.chance import around, between, happens, pick, pick_weighted

FACINGS = {"front": 3.0, "back": 2.2, "left": 1.8, "right": 1.8}
YAWS = {"front": 0.0, "back": math.pi, "left": -math.pi / 2, "right": math.pi / 2}
# Low occluders hide the feet and things on the ground; slim ones hide no attribute.
LOW_OCCLUDERS = ("bush", "wall", "car")
SLIM_OCCLUDERS = ("pole", "passer-by")
# These hide half of the person; such images get no captions.
BLOCKERS = ("hoarding", "kiosk")


@dataclass(frozen=True)
class Shot:
    """Pose and framing of one image.

    Args:
        yaw: rotation in radians, from facing the camera towards the right of the image.
        phase: of the walking cycle, in radians.
        stride: 0 is standing, 1 brisk walking.
        zoom, shift_x, shift_y: error of the detector's box; shifts are in parts of the image size.
    """

    camera: Camera
    facing: str
    yaw: float
    phase: float
    stride: float
    zoom: float
    shift_x: float
    shift_y: float
    occluder: str | None

    @property
    def walking(self) -> bool:
        return self.stride > 0.0


def draw_shot(rng: Generator, camera: Camera, difficulty: float) -> Shot:
    facing = pick_weighted(rng, FACINGS)
    walking = happens(rng, 0.75)
    loose = 0.5 + difficulty
    occluded = happens(rng, 0.04 + 0.4 * difficulty)
    occluder = pick(rng, LOW_OCCLUDERS + SLIM_OCCLUDERS)
    return Shot(
        camera=camera,
        facing=facing,
        yaw=YAWS[facing] + around(rng, 0.5),
        phase=between(rng, 0.0, 2 * math.pi),
        stride=between(rng, 0.55, 1.0) if walking else 0.0,
        zoom=1.0 + around(rng, 0.05 * loose),
        shift_x=around(rng, 0.03 * loose),
        shift_y=around(rng, 0.02 * loose),
        occluder=occluder if occluded else None,
    )


def draw_size(rng: Generator, person: Person, height: tuple[int, int]) -> tuple[int, int]:
    """Draw (width, height) of a detector's box in pixels, wider with an umbrella or a suitcase."""
    wide = person.carried is not None and person.carried.kind in ("umbrella", "suitcase")
    tall = height[0] + int(float(rng.random()) * (height[1] - height[0] + 1))
    return round(tall / (between(rng, 2.0, 2.4) if wide else between(rng, 2.2, 2.9))), tall


def visible_attributes(person: Person, shot: Shot) -> frozenset[str]:
    """The attributes of `person` that are visible in this image."""
    seen = {
        name
        for name in (
            "hair",
            "hat",
            "eyewear",
            "scarf",
            "upper",
            "inner",
            "lower",
            "shoes",
            "bag",
            "carried",
        )
        if getattr(person, name) is not None
    } | {"gender"}
    if person.build != "average":
        seen.add("build")
    return frozenset(name for name in seen if not _hidden(name, person, shot))


def _hidden(name: str, person: Person, shot: Shot) -> bool:
    match name:
        case "eyewear":
            return shot.facing != "front"
        case "inner":
            return math.cos(shot.yaw) < 0.2
        case "lower":
            assert person.lower is not None
            return person.upper.kind == "coat" and person.lower.kind in ("shorts", "skirt")
        case "shoes":
            return shot.occluder in LOW_OCCLUDERS
        case "bag":
            assert person.bag is not None
            return person.bag.kind != "backpack" and shot.facing == "right"
        case "carried":
            assert person.carried is not None
            return _carried_hidden(person.carried.kind, shot)
    return False


def _carried_hidden(kind: str, shot: Shot) -> bool:
    """Whether a carried thing is hidden; small things are held in front of the chest, a shopping
    bag hangs on the right side.
    """
    if kind == "umbrella":
        return False
    if kind == "suitcase":
        return shot.occluder in LOW_OCCLUDERS
    if kind == "shopping bag":
        return shot.facing == "left"
    return shot.facing == "back"
