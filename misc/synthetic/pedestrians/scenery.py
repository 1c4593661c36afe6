"""Backgrounds of the cameras, and occluders in front of a person."""

import colorsys
from collections.abc import Callable
from typing import NamedTuple

from numpy.random import Generator
from PIL import Image, ImageDraw

from misc.synthetic.pedestrians.cameras import Camera
from misc.synthetic.pedestrians.chance import between, pick
from misc.synthetic.pedestrians.palette import RGB, darken, lighten

Pen = ImageDraw.ImageDraw


class Backdrop(NamedTuple):
    """A background in progress: its pen, its size, and the row of the horizon, in pixels."""

    pen: Pen
    width: int
    height: int
    horizon: int


def paint_place(size: tuple[int, int], camera: Camera, rng: Generator) -> Image.Image:
    """Draw the background of one image: the camera's place, slightly shifted each time."""
    width, height = size
    image = Image.new("RGB", size, (150, 150, 150))
    horizon = int(height * between(rng, 0.5, 0.6))
    backdrop = Backdrop(ImageDraw.Draw(image), width, height, horizon)
    PLACES[camera.place](backdrop, camera.hue, rng)
    return image


def muted(hue: float, saturation: float, value: float) -> RGB:
    """The RGB colour of an HSV colour whose hue may be beyond 1."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return int(255 * red), int(255 * green), int(255 * blue)


def _ground(backdrop: Backdrop, rgb: RGB) -> None:
    pen, width, height, horizon = backdrop
    pen.rectangle((0, horizon, width, height), fill=rgb)
    pen.rectangle((0, horizon, width, horizon + height // 60), fill=darken(rgb, 0.25))


def _paint_street(backdrop: Backdrop, hue: float, rng: Generator) -> None:
    pen, width, height, horizon = backdrop
    wall = muted(hue, 0.14, 0.72)
    pen.rectangle((0, 0, width, horizon), fill=wall)
    step, left = 0.42 * width, between(rng, -0.4, 0.0) * width
    for row in (0.04, 0.3):
        for column in range(4):
            x, y = left + column * step, row * height
            pen.rectangle(
                (x, y, x + 0.6 * step, y + 0.17 * height),
                fill=muted(0.58, 0.2, 0.5),
                outline=lighten(wall, 0.4),
            )
    _ground(backdrop, (168, 166, 160))
    kerb = int(height * 0.8)
    pen.rectangle((0, kerb, width, height), fill=(122, 122, 126))
    pen.line((0, kerb, width, kerb), fill=(204, 202, 196), width=max(1, height // 70))


def _paint_park(backdrop: Backdrop, hue: float, rng: Generator) -> None:
    pen, width, height, horizon = backdrop
    pen.rectangle((0, 0, width, horizon), fill=(184, 214, 232))
    for _ in range(5):
        x, radius = between(rng, 0, width), between(rng, 0.14, 0.26) * height
        y = horizon - between(rng, 0.1, 0.35) * height
        pen.rectangle((x - 0.02 * height, y, x + 0.02 * height, horizon), fill=(110, 86, 62))
        pen.ellipse(
            (x - radius, y - radius, x + radius, y + radius),
            fill=muted(0.25 + 0.1 * hue, 0.34, between(rng, 0.5, 0.64)),
        )
    _ground(backdrop, muted(0.24, 0.34, 0.68))
    path = between(rng, -0.1, 0.2) * width
    pen.polygon(
        (
            path + 0.3 * width,
            horizon,
            path + 0.5 * width,
            horizon,
            path + 1.1 * width,
            height,
            path - 0.2 * width,
            height,
        ),
        fill=(206, 190, 160),
    )


def _paint_plaza(backdrop: Backdrop, hue: float, rng: Generator) -> None:
    pen, width, height, horizon = backdrop
    pen.rectangle((0, 0, width, horizon), fill=(206, 220, 230))
    x = -0.2 * width
    while x < width:
        wide, tall = between(rng, 0.25, 0.5) * width, between(rng, 0.2, 0.5) * height
        pen.rectangle(
            (x, horizon - tall, x + wide, horizon), fill=muted(hue, 0.12, between(rng, 0.58, 0.78))
        )
        x += wide
    stone = muted(hue + 0.5, 0.08, 0.76)
    _ground(backdrop, stone)
    _draw_tiles(backdrop, darken(stone, 0.16), between(rng, 0.2, 0.8))


def _paint_crossing(backdrop: Backdrop, hue: float, rng: Generator) -> None:
    pen, width, height, horizon = backdrop
    pen.rectangle((0, 0, width, horizon), fill=muted(hue, 0.1, 0.66))
    for _ in range(3):
        x, wide = between(rng, -0.2, 0.9) * width, 0.5 * width
        pen.rounded_rectangle(
            (x, horizon - 0.16 * height, x + wide, horizon),
            0.04 * height,
            fill=muted(float(rng.random()), 0.3, 0.56),
        )
        pen.rectangle(
            (x + 0.15 * wide, horizon - 0.14 * height, x + 0.85 * wide, horizon - 0.08 * height),
            fill=(96, 108, 118),
        )
    _ground(backdrop, (104, 104, 110))
    shift = between(rng, 0.0, 0.3) * width
    for number in range(-2, 5):
        x = number * 0.36 * width + shift
        pen.polygon(
            (
                x,
                0.76 * height,
                x + 0.18 * width,
                0.76 * height,
                x + 0.14 * width,
                height,
                x - 0.1 * width,
                height,
            ),
            fill=(214, 214, 210),
        )


def _paint_hall(backdrop: Backdrop, hue: float, rng: Generator) -> None:
    pen, width, height, horizon = backdrop
    wall = muted(hue, 0.1, 0.84)
    pen.rectangle((0, 0, width, horizon), fill=wall)
    left = between(rng, -0.5, 0.1) * width
    for number in range(3):
        x = left + number * 0.62 * width
        pen.rectangle(
            (x, 0.1 * height, x + 0.44 * width, horizon),
            fill=muted(hue + 0.1, 0.16, 0.6),
            outline=lighten(wall, 0.5),
        )
        pen.rectangle(
            (x, 0.02 * height, x + 0.44 * width, 0.08 * height),
            fill=muted(hue + 0.3 * number, 0.36, 0.72),
        )
    floor = muted(hue + 0.05, 0.07, 0.8)
    _ground(backdrop, floor)
    _draw_tiles(backdrop, lighten(floor, 0.4), between(rng, 0.2, 0.8))


def _paint_bricks(backdrop: Backdrop, hue: float, rng: Generator) -> None:
    pen, width, height, horizon = backdrop
    brick = muted(0.03 + 0.06 * hue, 0.34, 0.62)
    pen.rectangle((0, 0, width, horizon), fill=brick)
    course, shift = 0.045 * height, between(rng, 0.0, 0.2) * width
    for row in range(int(horizon / course) + 1):
        y = row * course
        pen.line((0, y, width, y), fill=lighten(brick, 0.22))
        for column in range(-1, 5):
            x = shift + (column + 0.5 * (row % 2)) * 0.3 * width
            pen.line((x, y, x, min(y + course, horizon)), fill=lighten(brick, 0.22))
    _ground(backdrop, (172, 168, 160))
    _draw_tiles(backdrop, (150, 146, 140), between(rng, 0.2, 0.8))


def _draw_tiles(backdrop: Backdrop, rgb: RGB, vanishing: float) -> None:
    """Draw tiles in perspective, with a vanishing point above the horizon."""
    pen, width, height, horizon = backdrop
    for number in range(-6, 12):
        foot = number * 0.34 * width
        pen.line(
            (vanishing * width + 0.12 * (foot - vanishing * width), horizon, foot, height), fill=rgb
        )
    y, step = float(horizon), 0.03 * height
    while y < height:
        pen.line((0, y, width, y), fill=rgb)
        y, step = y + step, step * 1.4


PLACES: dict[str, Callable[[Backdrop, float, Generator], None]] = {
    "street": _paint_street,
    "park": _paint_park,
    "plaza": _paint_plaza,
    "crossing": _paint_crossing,
    "hall": _paint_hall,
    "bricks": _paint_bricks,
}


def draw_occluder(image: Image.Image, kind: str, rng: Generator) -> None:
    """Draw an occluder in the foreground: up to the knees, or slim and on one side; `BLOCKERS` hide
    half of the image."""
    OCCLUDERS[kind](ImageDraw.Draw(image), *image.size, rng)


def _draw_bush(pen: Pen, width: int, height: int, rng: Generator) -> None:
    for _ in range(16):
        x, y = between(rng, 0, width), between(rng, 0.87, 1.0) * height
        radius = between(rng, 0.04, 0.08) * height
        leaf = muted(between(rng, 0.26, 0.34), 0.55, between(rng, 0.32, 0.5))
        pen.ellipse(
            (x - radius, y - radius, x + radius, y + radius), fill=leaf, outline=darken(leaf, 0.2)
        )
    pen.rectangle((0, 0.93 * height, width, height), fill=(48, 92, 46))


def _draw_wall(pen: Pen, width: int, height: int, rng: Generator) -> None:
    top, stone = between(rng, 0.8, 0.84) * height, muted(float(rng.random()), 0.12, 0.62)
    pen.rectangle((0, top, width, height), fill=stone)
    pen.rectangle(
        (0, top, width, top + 0.03 * height), fill=lighten(stone, 0.3), outline=darken(stone, 0.3)
    )


def _draw_car(pen: Pen, width: int, height: int, rng: Generator) -> None:
    top, body = 0.82 * height, muted(float(rng.random()), 0.5, 0.66)
    pen.rounded_rectangle(
        (-0.3 * width, top, 1.3 * width, 1.2 * height),
        0.05 * height,
        fill=body,
        outline=darken(body, 0.4),
    )
    pen.line(
        (0, top + 0.06 * height, width, top + 0.06 * height),
        fill=lighten(body, 0.35),
        width=max(1, int(height / 80)),
    )
    lamp = pick(rng, (0.08, 0.72)) * width
    pen.ellipse(
        (lamp, 0.9 * height, lamp + 0.2 * width, 0.96 * height),
        fill=(250, 240, 196),
        outline=darken(body, 0.4),
    )


def _draw_pole(pen: Pen, width: int, height: int, rng: Generator) -> None:
    x, half = pick(rng, (between(rng, 0.1, 0.24), between(rng, 0.76, 0.9))) * width, 0.028 * height
    pen.rectangle((x - half, 0, x + half, height), fill=(96, 100, 104), outline=(60, 62, 66))
    pen.rectangle((x - half * 0.5, 0, x - half * 0.1, height), fill=(150, 154, 158))


def _draw_passer_by(pen: Pen, width: int, height: int, rng: Generator) -> None:
    """Draw the shoulder and arm of another person at the edge."""
    side, coat = pick(rng, (0, 1)), muted(float(rng.random()), 0.25, 0.4)
    edge = width * side
    reach = between(rng, 0.14, 0.22) * width
    pen.ellipse((edge - reach, 0.06 * height, edge + reach, 0.26 * height), fill=(70, 58, 52))
    pen.rounded_rectangle(
        (edge - reach * 1.4, 0.24 * height, edge + reach * 1.4, 0.66 * height),
        0.06 * height,
        fill=coat,
        outline=darken(coat, 0.3),
    )
    pen.rectangle(
        (edge - reach * 0.9, 0.64 * height, edge + reach * 0.9, height), fill=darken(coat, 0.4)
    )


def _draw_hoarding(pen: Pen, width: int, height: int, rng: Generator) -> None:
    """Draw boards up to the chest."""
    top, board = between(rng, 0.42, 0.6) * height, muted(float(rng.random()), 0.3, 0.62)
    pen.rectangle((0, top, width, height), fill=board)
    step = 0.1 * height
    for number in range(1 + int((height - top) / step)):
        y = top + number * step
        pen.line((0, y, width, y), fill=darken(board, 0.3), width=max(1, height // 90))


def _draw_kiosk(pen: Pen, width: int, height: int, rng: Generator) -> None:
    """Draw a wall on one side, from top to bottom."""
    wide, wall = between(rng, 0.42, 0.56) * width, muted(float(rng.random()), 0.4, 0.56)
    left = pick(rng, (0.0, width - wide))
    pen.rectangle((left, 0, left + wide, height), fill=wall, outline=darken(wall, 0.4))
    pen.rectangle(
        (left + 0.15 * wide, 0.12 * height, left + 0.85 * wide, 0.4 * height),
        fill=lighten(wall, 0.5),
    )


OCCLUDERS: dict[str, Callable[[Pen, int, int, Generator], None]] = {
    "bush": _draw_bush,
    "wall": _draw_wall,
    "car": _draw_car,
    "pole": _draw_pole,
    "passer-by": _draw_passer_by,
    "hoarding": _draw_hoarding,
    "kiosk": _draw_kiosk,
}
