"""Joint positions of a walking person, who may hold something."""

import math
from dataclasses import dataclass

from misc.synthetic.pedestrians.attributes import Person
from misc.synthetic.pedestrians.canvas import Point
from misc.synthetic.pedestrians.shots import Shot

THIGH, SHANK, UPPER_ARM, FOREARM = 0.222, 0.222, 0.16, 0.135
ANKLE_HEIGHT = 0.045
RAISED = ("phone", "bottle", "book", "cup", "flowers", "umbrella")


@dataclass(frozen=True)
class Leg:
    """Joints of a leg."""

    hip: Point
    knee: Point
    ankle: Point


@dataclass(frozen=True)
class Arm:
    """Joints of an arm."""

    shoulder: Point
    elbow: Point
    hand: Point


@dataclass(frozen=True)
class Skeleton:
    """Joints of a person, the left side first."""

    legs: tuple[Leg, Leg]
    arms: tuple[Arm, Arm]
    shoulder_width: float


def pose(person: Person, shot: Shot) -> Skeleton:
    """The joints at the shot's phase of the walking cycle, with the lower foot on the ground."""
    shoulder = (0.094 if person.gender == "man" else 0.082) * (0.4 + 0.6 * person.girth)
    holds = person.carried is not None and person.carried.kind in RAISED
    return Skeleton(
        legs=_grounded((_leg(1, shot.phase, shot), _leg(-1, shot.phase + math.pi, shot))),
        arms=(
            _hanging_arm(1, shoulder, shot),
            _bent_arm(shoulder) if holds else _hanging_arm(-1, shoulder, shot),
        ),
        shoulder_width=shoulder,
    )


def _leg(side: int, phase: float, shot: Shot) -> Leg:
    swing = 0.42 * shot.stride * math.sin(phase)
    bend = 0.75 * shot.stride * max(0.0, math.cos(phase))
    hip = Point(0.042 * side, 0.0, 0.52)
    knee = _beyond(hip, THIGH, swing)
    return Leg(hip, knee, _beyond(knee, SHANK, swing - bend))


def _grounded(legs: tuple[Leg, Leg]) -> tuple[Leg, Leg]:
    """Stretch both legs so that the lower foot is on the ground, with the hips fixed."""
    sink = 1.0 - ANKLE_HEIGHT - max(leg.ankle.down for leg in legs)
    first, second = (
        Leg(leg.hip, _lowered(leg.knee, sink / 2), _lowered(leg.ankle, sink)) for leg in legs
    )
    return first, second


def _hanging_arm(side: int, width: float, shot: Shot) -> Arm:
    swing = -0.5 * shot.stride * math.sin(shot.phase) * side
    shoulder = Point(width * side, 0.0, 0.215)
    elbow = _beyond(shoulder, UPPER_ARM, swing)._replace(lateral=(width + 0.022) * side)
    return Arm(shoulder, elbow, _beyond(elbow, FOREARM, swing + 0.2))


def _bent_arm(width: float) -> Arm:
    """The right arm with the hand in front of the chest."""
    return Arm(
        Point(-width, 0.0, 0.215),
        Point(-width - 0.025, 0.0, 0.36),
        Point(-width - 0.005, 0.11, 0.31),
    )


def _beyond(joint: Point, length: float, angle: float) -> Point:
    """The next joint, `length` below this one, swung forward by `angle` (radians)."""
    forward = joint.forward + length * math.sin(angle)
    return Point(joint.lateral, forward, joint.down + length * math.cos(angle))


def _lowered(point: Point, distance: float) -> Point:
    return point._replace(down=point.down + distance)
