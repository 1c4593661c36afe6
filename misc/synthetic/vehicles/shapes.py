"""Shapes of all kinds of vehicle: flat panels in space, and the paint on them.

Points are (lateral, forward, down) in metres: `lateral` points to the vehicle's left, `forward` to
its front, and `down` is 0 on the road and negative above it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from misc.synthetic.pedestrians.canvas import Point
from misc.synthetic.pedestrians.palette import RGB

Flat = tuple[float, float]  # a point in a panel's plane
SIDES = {"left": 1.0, "right": -1.0}


@dataclass
class Panel:
    """A flat polygon, visible from the side of its `normal`, and the paint on it."""

    outline: list[Point]
    normal: Point
    rgb: RGB
    paint: list[tuple[list[Point], RGB]] = field(default_factory=list)


@dataclass(frozen=True)
class Outline:
    """The side view of a solid.

    Args:
        corners: (forward, up) in metres, from the bottom of the rear over the top to the bottom of
            the front.
        names: of the panels between the corners.
        widths: at the bottom and at the top, in metres.
    """

    corners: tuple[Flat, ...]
    names: tuple[str, ...]
    widths: tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """A kind of vehicle: a body, possibly with a cabin on top or a cargo box behind.

    Args:
        windows: polygons of (forward, up) on the sides of the cabin, or of the body if there is no
            cabin.
        screens: upper and lower edge of the glass, as parts of the panel, by panel.
        lamps: upper and lower edge of the lamps in front and in the rear, likewise.
        emblem: (forward, up) of its centre, and its radius.
        wheels: `forward` of the axles, and the radius.
    """

    body: Outline
    windows: tuple[tuple[Flat, ...], ...]
    screens: Mapping[str, Flat]
    lamps: tuple[Flat, Flat]
    emblem: tuple[Flat, float]
    wheels: tuple[tuple[float, ...], float]
    cabin: Outline | None = None
    cargo: Outline | None = None


class Solid:
    """The solid of an outline: a panel for each of its names, and the panels `left` and `right`.

    The paint is stretched with the solid.
    """

    def __init__(self, outline: Outline, rgb: RGB, stretch: Flat) -> None:
        forward, up = zip(*outline.corners, strict=True)
        self.rear, self.front, self.foot, self.top = min(forward), max(forward), min(up), max(up)
        self.widths, self.stretch = outline.widths, stretch
        self.panels = {
            name: Panel(
                [self._point(*place) for place in ((a, 1), (b, 1), (b, -1), (a, -1))],
                _normal(a, b),
                rgb,
            )
            for name, (a, b) in zip(outline.names, pairwise(outline.corners), strict=True)
        }
        lean, tall = (self.widths[0] - self.widths[1]) / 2, (self.top - self.foot) * stretch[1]
        length = math.hypot(lean, tall)
        for name, side in SIDES.items():
            points = [self._point(corner, side) for corner in outline.corners]
            normal = Point(side * tall / length, 0.0, -lean / length)
            self.panels[name] = Panel(points, normal, rgb)

    @property
    def middle(self) -> Point:
        return Point(0.0, self.stretch[0] * (self.rear + self.front) / 2, 0.0)

    def paint(self, name: str, polygon: Iterable[Flat], rgb: RGB) -> None:
        """Paint a polygon on a panel between the sides.

        Points are (across, fall): from the right edge, -1, to the left, 1, and from the upper edge,
        0, to the lower, 1.
        """
        rear, front, *_ = self.panels[name].outline
        upper, lower = sorted((rear, front), key=lambda point: point.down)
        points = []
        for across, fall in polygon:
            left = [a + (b - a) * fall for a, b in zip(upper, lower, strict=True)]
            points.append(Point(left[0] * across, left[1], left[2]))
        self.panels[name].paint.append((points, rgb))

    def paint_side(self, name: str, polygon: Iterable[Flat], rgb: RGB) -> None:
        """Paint a polygon of (forward, up) in metres on the panel `left` or `right`."""
        points = [self._point(corner, SIDES[name]) for corner in polygon]
        self.panels[name].paint.append((points, rgb))

    def _point(self, corner: Flat, side: float) -> Point:
        share = (corner[1] - self.foot) / (self.top - self.foot)
        width = self.widths[0] + (self.widths[1] - self.widths[0]) * share
        return Point(side * width / 2, corner[0] * self.stretch[0], -corner[1] * self.stretch[1])


def rectangle(left: float, right: float, foot: float, top: float) -> tuple[Flat, ...]:
    """The corners of a rectangle."""
    return (left, foot), (left, top), (right, top), (right, foot)


def disc(middle: Flat, radius: float) -> list[Flat]:
    """The corners of a 16-gon that approximates a disc."""
    turns = [2 * math.pi * number / 16 for number in range(16)]
    return [(middle[0] + radius * math.cos(t), middle[1] + radius * math.sin(t)) for t in turns]


def _normal(a: Flat, b: Flat) -> Point:
    """The outward normal of the panel from `a` to `b`, consecutive corners of an outline."""
    length = math.hypot(b[0] - a[0], b[1] - a[1])
    return Point(0.0, -(b[1] - a[1]) / length, -(b[0] - a[0]) / length)


BODY = ("rear", "deck", "belt", "bonnet", "front")
CABIN = ("rear window", "roof", "windscreen")
BOX = ("rear", "roof", "front")
CAR_SCREENS = {"windscreen": (0.1, 0.95), "rear window": (0.1, 0.95)}
CAR_LAMPS = ((0.12, 0.5), (0.1, 0.5))
TALL_BODY = Outline(
    ((-2.2, 0.35), (-2.25, 1.0), (-2.0, 1.1), (0.95, 1.1), (2.1, 0.95), (2.15, 0.35)),
    BODY,
    (1.85, 1.82),
)
SHAPES = {
    "sedan": Shape(
        body=Outline(
            ((-2.2, 0.25), (-2.22, 0.82), (-1.5, 0.95), (0.95, 0.95), (2.15, 0.74), (2.2, 0.25)),
            BODY,
            (1.75, 1.72),
        ),
        cabin=Outline(
            ((-1.75, 0.93), (-0.95, 1.42), (0.2, 1.42), (1.05, 0.93)), CABIN, (1.66, 1.25)
        ),
        windows=(
            ((-1.45, 0.99), (-0.9, 1.36), (-0.42, 1.36), (-0.42, 0.99)),
            ((-0.34, 0.99), (-0.34, 1.36), (0.15, 1.36), (0.78, 0.99)),
        ),
        screens=CAR_SCREENS,
        lamps=CAR_LAMPS,
        emblem=((-0.2, 0.62), 0.2),
        wheels=((-1.35, 1.4), 0.33),
    ),
    "hatchback": Shape(
        body=Outline(
            ((-1.8, 0.25), (-1.85, 0.85), (-1.7, 0.97), (0.85, 0.97), (1.8, 0.78), (1.85, 0.25)),
            BODY,
            (1.7, 1.68),
        ),
        cabin=Outline(((-1.75, 0.95), (-1.4, 1.5), (0.15, 1.5), (0.95, 0.95)), CABIN, (1.62, 1.28)),
        windows=(
            ((-1.52, 1.01), (-1.3, 1.44), (-0.62, 1.44), (-0.62, 1.01)),
            ((-0.54, 1.01), (-0.54, 1.44), (0.1, 1.44), (0.7, 1.01)),
        ),
        screens=CAR_SCREENS,
        lamps=CAR_LAMPS,
        emblem=((-0.2, 0.64), 0.2),
        wheels=((-1.2, 1.2), 0.32),
    ),
    "suv": Shape(
        body=TALL_BODY,
        cabin=Outline(
            ((-2.1, 1.08), (-1.85, 1.75), (0.2, 1.75), (0.95, 1.08)), CABIN, (1.76, 1.42)
        ),
        windows=(
            ((-1.95, 1.15), (-1.75, 1.68), (-1.2, 1.68), (-1.2, 1.15)),
            ((-1.1, 1.15), (-1.1, 1.68), (-0.4, 1.68), (-0.4, 1.15)),
            ((-0.3, 1.15), (-0.3, 1.68), (0.14, 1.68), (0.72, 1.15)),
        ),
        screens=CAR_SCREENS,
        lamps=CAR_LAMPS,
        emblem=((-0.2, 0.75), 0.23),
        wheels=((-1.35, 1.35), 0.4),
    ),
    "pickup": Shape(
        body=TALL_BODY,
        cabin=Outline(
            ((-0.75, 1.08), (-0.6, 1.72), (0.25, 1.72), (1.0, 1.08)), CABIN, (1.76, 1.42)
        ),
        windows=(((-0.55, 1.15), (-0.45, 1.65), (0.18, 1.65), (0.75, 1.15)),),
        screens=CAR_SCREENS,
        lamps=CAR_LAMPS,
        emblem=((-1.3, 0.85), 0.2),
        wheels=((-1.35, 1.35), 0.4),
    ),
    "van": Shape(
        body=Outline(
            ((-2.4, 0.3), (-2.4, 1.95), (1.25, 1.95), (2.0, 1.1), (2.35, 0.95), (2.4, 0.3)),
            ("rear", "roof", "windscreen", "bonnet", "front"),
            (1.85, 1.7),
        ),
        windows=(
            rectangle(-2.2, -1.15, 1.2, 1.75),
            rectangle(-1.0, 0.1, 1.2, 1.75),
            ((0.25, 1.2), (0.25, 1.75), (1.15, 1.75), (1.6, 1.2)),
        ),
        screens={"windscreen": (0.06, 0.92), "rear": (0.1, 0.45)},
        lamps=((0.1, 0.5), (0.5, 0.72)),
        emblem=((-0.6, 0.75), 0.3),
        wheels=((-1.5, 1.6), 0.34),
    ),
    "bus": Shape(
        body=Outline(((-4.0, 0.35), (-4.0, 2.75), (3.9, 2.75), (4.0, 0.35)), BOX, (2.4, 2.3)),
        windows=tuple(rectangle(x, x + 1.05, 1.4, 2.3) for x in (-3.8, -2.6, -1.4, -0.2, 1.0, 2.6)),
        screens={"front": (0.12, 0.55), "rear": (0.15, 0.4)},
        lamps=((0.72, 0.82), (0.66, 0.8)),
        emblem=((0.2, 0.9), 0.4),
        wheels=((-2.4, 2.5), 0.45),
    ),
    "truck": Shape(
        body=Outline(((1.3, 0.5), (1.3, 2.15), (2.55, 2.15), (2.75, 0.5)), BOX, (2.1, 2.0)),
        cargo=Outline(((-3.2, 0.75), (-3.2, 2.75), (1.15, 2.75), (1.15, 0.75)), BOX, (2.2, 2.2)),
        windows=(rectangle(1.55, 2.4, 1.3, 1.95),),
        screens={"front": (0.1, 0.5)},
        lamps=((0.66, 0.8), (0.82, 0.94)),
        emblem=((-1.0, 1.8), 0.55),
        wheels=((-2.0, 1.95), 0.45),
    ),
}
