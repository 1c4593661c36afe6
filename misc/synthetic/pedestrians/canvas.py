"""A canvas for shapes in the person's coordinates, projected to the image.

Points are (lateral, forward, down) in units of body height: `lateral` points to the person's left,
`forward` in walking direction, and `down` runs from the crown (0) to the ground (1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from PIL import Image, ImageDraw

from misc.synthetic.pedestrians.attributes import Item
from misc.synthetic.pedestrians.palette import RGB, contour

Pixel = tuple[float, float]


class Point(NamedTuple):
    """A point in the person's coordinates."""

    lateral: float
    forward: float
    down: float


class Ring(NamedTuple):
    """A cross-section of a tube: its height, half axes and centre."""

    down: float
    lateral: float
    forward: float
    middle: Point = Point(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Paint:
    """Fill of a shape: a colour, and a pattern with its second colour."""

    rgb: RGB
    pattern: str = "plain"
    accent: RGB | None = None

    @classmethod
    def of(cls, item: Item) -> "Paint":
        return cls(item.colour.rgb, item.pattern, item.accent.rgb if item.accent else None)


@dataclass(frozen=True)
class Projection:
    """Projection from the person's coordinates to pixels.

    Args:
        yaw, pitch: rotation and tilt in radians.
        scale: pixels per body height.
        origin: pixel of the crown.
    """

    yaw: float
    pitch: float
    scale: float
    origin: Pixel

    def depth(self, point: Point) -> float:
        """Distance in front of the person's axis, towards the camera, in body heights."""
        return point.forward * math.cos(self.yaw) - point.lateral * math.sin(self.yaw)

    def pixel(self, point: Point) -> Pixel:
        across = point.lateral * math.cos(self.yaw) + point.forward * math.sin(self.yaw)
        fall = point.down * math.cos(self.pitch) + self.depth(point) * math.sin(self.pitch)
        return self.origin[0] + self.scale * across, self.origin[1] + self.scale * fall

    def width(self, lateral: float, forward: float) -> float:
        """Half the width, in pixels, of an upright elliptic cylinder with these half axes."""
        return self.scale * math.hypot(lateral * math.cos(self.yaw), forward * math.sin(self.yaw))


class Canvas:
    """Draws shapes with a contour, shaded on the side away from the `sun` (-1 left, 1 right)."""

    def __init__(self, image: Image.Image, view: Projection, sun: int) -> None:
        self.image = image
        self.view = view
        self.sun = sun
        self.pen = ImageDraw.Draw(image, "RGBA")
        self.line_width = max(1, round(0.0055 * view.scale))

    def magnified(self, pivot: Point, factor: float) -> "Canvas":
        """A canvas on the same image, magnified around a fixed point."""
        x, y = self.view.pixel(pivot)
        across, fall = x - self.view.origin[0], y - self.view.origin[1]
        origin = (x - across * factor, y - fall * factor)
        view = replace(self.view, scale=self.view.scale * factor, origin=origin)
        return Canvas(self.image, view, self.sun)

    def tube(self, rings: Sequence[Ring], paint: Paint) -> None:
        """Draw an upright body of varying girth, such as a torso, a skirt or a bag."""
        left: list[Pixel] = []
        right: list[Pixel] = []
        for ring in rings:
            middle = ring.middle._replace(down=ring.middle.down + ring.down)
            x, y = self.view.pixel(middle)
            half = self.view.width(ring.lateral, ring.forward)
            left.append((x - half, y))
            right.append((x + half, y))
        self._strip(_rounded(left), _rounded(right), paint)

    def limb(
        self, joints: Sequence[Point], radii: Sequence[float], paint: Paint, cut: bool = False
    ) -> None:
        """Draw a bent, tapering capsule through the joints; `cut` ends it straight, like a hem."""
        pixels = [self.view.pixel(joint) for joint in joints]
        left: list[Pixel] = []
        right: list[Pixel] = []
        for index, ((x, y), radius) in enumerate(zip(pixels, radii, strict=True)):
            before, after = pixels[max(0, index - 1)], pixels[min(len(pixels) - 1, index + 1)]
            dx, dy = after[0] - before[0], after[1] - before[1]
            reach = radius * self.view.scale / (math.hypot(dx, dy) or 1.0)
            left.append((x + dy * reach, y - dx * reach))
            right.append((x - dy * reach, y + dx * reach))
        first = _tip(pixels[0], pixels[1], radii[0] * self.view.scale)
        last = [] if cut else _tip(pixels[-1], pixels[-2], radii[-1] * self.view.scale)
        left, right = [*first, *left, *last], [*first, *right, *last]
        self._strip(_rounded(left), _rounded(right), paint)

    def ball(
        self, centre: Point, across: float, tall: float, rgb: RGB, shaded: bool = True
    ) -> None:
        """Draw an ellipse with these half axes in body heights, whatever the view."""
        x, y = self.view.pixel(centre)
        rx, ry = across * self.view.scale, tall * self.view.scale
        self.pen.ellipse(
            (x - rx, y - ry, x + rx, y + ry), fill=rgb, outline=contour(rgb) if shaded else None
        )

    def stroke(self, points: Sequence[Point], thickness: float, rgb: RGB) -> None:
        """Draw a line of this thickness in body heights, such as a strap or a handle."""
        width = max(1, round(thickness * self.view.scale))
        self.pen.line(
            [self.view.pixel(point) for point in points], fill=rgb, width=width, joint="curve"
        )

    def patch(self, points: Sequence[Point], rgb: RGB) -> None:
        """Draw a flat polygon."""
        outline = [self.view.pixel(point) for point in points]
        self.pen.polygon(outline, fill=rgb, outline=contour(rgb), width=self.line_width)

    def _strip(self, left: list[Pixel], right: list[Pixel], paint: Paint) -> None:
        outline = left + right[::-1]
        if paint.accent is None or paint.pattern == "print":
            self.pen.polygon(outline, fill=paint.rgb)
        else:
            self._fill_pattern(outline, paint)
        self._shade(left, right)
        self.pen.line([*outline, outline[0]], fill=contour(paint.rgb), width=self.line_width)

    def _shade(self, left: list[Pixel], right: list[Pixel]) -> None:
        """Darken the third away from the sun, and lighten the edge towards it."""
        if (sum(x for x, _ in left) < sum(x for x, _ in right)) == (self.sun > 0):
            left, right = right, left
        self.pen.polygon(right + _towards(right, left, 0.36)[::-1], fill=(10, 10, 40, 52))
        self.pen.polygon(left + _towards(left, right, 0.2)[::-1], fill=(255, 250, 230, 34))

    def _fill_pattern(self, outline: list[Pixel], paint: Paint) -> None:
        xs, ys = [x for x, _ in outline], [y for _, y in outline]
        corner = (math.floor(min(xs)), math.floor(min(ys)))
        size = (math.ceil(max(xs)) - corner[0] + 1, math.ceil(max(ys)) - corner[1] + 1)
        mask = Image.new("L", size)
        shifted = [(x - corner[0], y - corner[1]) for x, y in outline]
        ImageDraw.Draw(mask).polygon(shifted, fill=255)
        self.image.paste(weave(size, paint, self.view.scale), corner, mask)


def weave(size: tuple[int, int], paint: Paint, scale: float) -> Image.Image:
    """Draw patterned cloth; `scale` is in pixels per body height."""
    assert paint.accent is not None
    cloth = Image.new("RGB", size, paint.rgb)
    pen = ImageDraw.Draw(cloth, "RGBA")
    step = 0.058 * scale
    rows = [index * step for index in range(math.ceil(size[1] / step) + 1)]
    columns = [index * step for index in range(math.ceil(size[0] / step) + 1)]
    if paint.pattern == "striped":
        for y in rows:
            pen.rectangle((0, y, size[0], y + 0.45 * step), fill=paint.accent)
    elif paint.pattern == "checked":
        for y in rows:
            pen.rectangle((0, y, size[0], y + 0.4 * step), fill=(*paint.accent, 150))
        for x in columns:
            pen.rectangle((x, 0, x + 0.4 * step, size[1]), fill=(*paint.accent, 150))
    else:
        radius = 0.24 * step
        for number, y in enumerate(rows):
            for x in columns:
                middle = x + (0.5 * step if number % 2 else 0.0)
                box = (middle - radius, y - radius, middle + radius, y + radius)
                pen.ellipse(box, fill=paint.accent)
    return cloth


def _rounded(points: list[Pixel]) -> list[Pixel]:
    """One round of Chaikin's corner cutting, with fixed ends."""
    result = [points[0]]
    for (x0, y0), (x1, y1) in pairwise(points):
        result.append((0.75 * x0 + 0.25 * x1, 0.75 * y0 + 0.25 * y1))
        result.append((0.25 * x0 + 0.75 * x1, 0.25 * y0 + 0.75 * y1))
    return [*result, points[-1]]


def _towards(points: list[Pixel], others: list[Pixel], share: float) -> list[Pixel]:
    return [
        (x + share * (u - x), y + share * (v - y))
        for (x, y), (u, v) in zip(points, others, strict=True)
    ]


def _tip(end: Pixel, neighbour: Pixel, radius: float) -> list[Pixel]:
    """The tip of a limb's rounded end."""
    dx, dy = end[0] - neighbour[0], end[1] - neighbour[1]
    reach = 0.8 * radius / (math.hypot(dx, dy) or 1.0)
    return [(end[0] + dx * reach, end[1] + dy * reach)]
