"""Walks: a person crossing the view of a camera."""

import math
from dataclasses import dataclass, replace

from numpy.random import Generator

from misc.synthetic.pedestrians.attributes import Person
from misc.synthetic.pedestrians.cameras import Camera
from misc.synthetic.pedestrians.canvas import Projection
from misc.synthetic.pedestrians.chance import around, between, pick
from misc.synthetic.pedestrians.drawing import head_room
from misc.synthetic.pedestrians.shots import YAWS, Shot, draw_shot, draw_size

SOLE = 1.02  # in body heights below the crown
CYCLE = 0.85  # body heights that two steps cover

Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True)
class Walk:
    """One person's way across the view.

    Args:
        shot: pose at the beginning.
        starts, lasts: seconds.
        lane: row of the soles, from 0 (top of the image) to 1.
        tall: body height, as a part of the image height.
        aspect: height of the person's box in widths.
    """

    person: Person
    shot: Shot
    starts: float
    lasts: float
    lane: float
    tall: float
    aspect: float

    def is_on(self, seconds: float) -> bool:
        """Whether the person is on the way."""
        return 0.0 <= seconds - self.starts < self.lasts

    def box(self, seconds: float, size: tuple[int, int]) -> Rectangle:
        """Left, top, width and height of the person in an image of this size, in pixels.

        The box may lie beyond the image's edges; crown, or umbrella, and sole touch it.
        """
        height = self.tall * size[1] * (SOLE - head_room(self.person))
        width = height / self.aspect
        way = (seconds - self.starts) / self.lasts
        left = (way if self.shot.facing == "right" else 1.0 - way) * (size[0] + width) - width
        return left, self.lane * size[1] - height, width, height

    def view(self, seconds: float, size: tuple[int, int]) -> Projection:
        """The projection of the person into an image of this size."""
        left, _, width, _ = self.box(seconds, size)
        scale = self.tall * size[1]
        crown = (left + width / 2, self.lane * size[1] - SOLE * scale)
        return Projection(self.shot.yaw, self.shot.camera.pitch, scale, crown)

    def pose(self, seconds: float, size: tuple[int, int]) -> Shot:
        """The shot at this time: the steps fit the way that has been gone."""
        _, _, width, _ = self.box(seconds, size)
        way = (seconds - self.starts) / self.lasts * (size[0] + width)
        turns = way / (CYCLE * self.tall * size[1])
        return replace(self.shot, phase=self.shot.phase + 2 * math.pi * turns)


def draw_walk(rng: Generator, person: Person, camera: Camera, starts: float) -> Walk:
    """Draw a walk that begins at this second; people who are nearer are taller."""
    shot = draw_shot(rng, camera, difficulty=0.0)
    facing = pick(rng, ("left", "right"))
    near = float(rng.random())
    width, height = draw_size(rng, person, (1000, 1000))
    return Walk(
        person,
        replace(
            shot,
            facing=facing,
            yaw=YAWS[facing] + around(rng, 0.5),
            stride=between(rng, 0.55, 1.0),
            occluder=None,
        ),
        starts=starts,
        lasts=between(rng, 5.0, 8.0),
        lane=0.72 + 0.24 * near,
        tall=0.34 + 0.14 * near,
        aspect=height / width,
    )
