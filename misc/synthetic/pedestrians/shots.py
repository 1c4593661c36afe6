"""One moment before a camera: where the person is going, and what stands in the way."""

import math
from dataclasses import dataclass

from numpy.random import Generator

from misc.synthetic.pedestrians.attributes import Person
from misc.synthetic.pedestrians.cameras import Camera
from misc.synthetic.pedestrians.chance import around, between, happens, pick, pick_weighted

FACINGS = {"front": 3.0, "back": 2.2, "left": 1.8, "right": 1.8}
YAWS = {"front": 0.0, "back": math.pi, "left": -math.pi / 2, "right": math.pi / 2}
# The low ones hide the feet and what stands on the ground, the slim ones only narrow the view.
LOW_OCCLUDERS = ("bush", "wall", "car")
SLIM_OCCLUDERS = ("pole", "passer-by")
# These hide half of the person; no caption is written of such a picture.
BLOCKERS = ("hoarding", "kiosk")


@dataclass(frozen=True)
class Shot:
    """`yaw` turns from the camera to the right of the picture (radians), `phase` is that of the
    walk (radians), `stride` 0 stands and 1 walks briskly; `zoom` and the shifts (in parts of the
    picture) are those of a careless detector."""

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
    """(width, height) in pixels of a detector's box, wider where things stick out."""
    wide = person.carried is not None and person.carried.kind in ("umbrella", "suitcase")
    tall = height[0] + int(float(rng.random()) * (height[1] - height[0] + 1))
    return round(tall / (between(rng, 2.0, 2.4) if wide else between(rng, 2.2, 2.9))), tall


def visible_attributes(person: Person, shot: Shot) -> frozenset[str]:
    """The attributes of `person` that this picture shows: what a caption may speak of."""
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
    """Small things are held before the chest, a shopping bag hangs at the right side."""
    if kind == "umbrella":
        return False
    if kind == "suitcase":
        return shot.occluder in LOW_OCCLUDERS
    if kind == "shopping bag":
        return shot.facing == "left"
    return shot.facing == "back"
