"""Drawing of the head: face, hair, hats, eyewear and scarf."""

import math

from misc.synthetic.pedestrians.attributes import Item, Person
from misc.synthetic.pedestrians.canvas import Canvas, Paint, Point, Ring
from misc.synthetic.pedestrians.palette import RGB, contour, darken, lighten, mix

CENTRE = Point(0.0, 0.008, 0.088)
FALL = {"medium": 0.185, "long": 0.315}


def draw_head(canvas: Canvas, person: Person) -> None:
    """Draw the head, enlarged, since most distinctive attributes are here."""
    canvas = canvas.magnified(Point(0.0, 0.0, 0.165), 1.14)
    yaw = canvas.view.yaw
    seen_from_behind = math.cos(yaw) < -0.2
    if not seen_from_behind:
        _draw_falling_hair(canvas, person.hair)
    _draw_neck(canvas, person)
    canvas.ball(CENTRE, 0.05, 0.064, person.skin)
    if person.hair.kind != "bald":
        canvas.ball(Point(0.0, -0.012, 0.072), 0.059, 0.061, person.hair.colour.rgb)
    _draw_face(canvas, person)
    if person.hair.kind not in FALL:
        _draw_ears(canvas, person.skin)
    if seen_from_behind:
        _draw_falling_hair(canvas, person.hair)
    if person.hat is not None:
        HATS[person.hat.kind](canvas, person.hat.colour.rgb)


def _draw_neck(canvas: Canvas, person: Person) -> None:
    canvas.limb(
        (Point(0, 0, 0.13), Point(0, -0.005, 0.195)), (0.026, 0.03), Paint(darken(person.skin, 0.1))
    )
    if person.scarf is not None:
        rgb = person.scarf.colour.rgb
        canvas.tube(
            (Ring(0.155, 0.045, 0.045), Ring(0.175, 0.058, 0.056), Ring(0.205, 0.05, 0.05)),
            Paint(rgb),
        )
        end = (Point(0.025, 0.066, 0.19), Point(0.032, 0.08, 0.32))
        if canvas.view.depth(end[1]) > -0.02:
            canvas.limb(end, (0.016, 0.022), Paint(rgb))


def _draw_face(canvas: Canvas, person: Person) -> None:
    cos, sin = math.cos(canvas.view.yaw), math.sin(canvas.view.yaw)
    if cos < -0.55:
        return
    skin = person.skin
    if abs(sin) > 0.35:
        canvas.ball(Point(0, 0.064, 0.1), 0.011, 0.009, skin, shaded=False)
    canvas.ball(Point(0, 0.026, 0.102), 0.033 + 0.013 * max(cos, 0.0), 0.049, skin, shaded=False)
    for side in (-1, 1):
        _draw_eye(canvas, side, person.eyewear, skin)
    if cos > -0.1:
        lip = mix(skin, (170, 50, 60), 0.55)
        canvas.stroke(
            [Point(-0.014, 0.055, 0.128), Point(0, 0.056, 0.132), Point(0.014, 0.055, 0.128)],
            0.008,
            lip,
        )


def _draw_ears(canvas: Canvas, skin: RGB) -> None:
    for side in (-1, 1):
        ear = Point(0.053 * side, -0.004, 0.1)
        if canvas.view.depth(ear) > -0.02:
            canvas.ball(ear, 0.011, 0.015, skin)


def _draw_eye(canvas: Canvas, side: int, eyewear: Item | None, skin: RGB) -> None:
    eye = Point(0.021 * side, 0.05, 0.094)
    if canvas.view.depth(eye) < 0.006:
        return
    if eyewear is not None:
        glass = (24, 24, 30) if eyewear.kind == "sunglasses" else lighten(skin, 0.5)
        canvas.ball(eye, 0.021, 0.0185, (24, 24, 30), shaded=False)
        canvas.ball(eye, 0.014, 0.012, glass, shaded=False)
        canvas.stroke(
            [Point(0.036 * side, 0.044, 0.09), Point(0.054 * side, 0.0, 0.09)], 0.007, (24, 24, 30)
        )
    if eyewear is None or eyewear.kind == "glasses":
        canvas.ball(eye, 0.0115, 0.0115, (250, 248, 244), shaded=False)
        canvas.ball(eye, 0.0075, 0.0085, (34, 26, 26), shaded=False)
    cheek = eye._replace(lateral=0.029 * side, forward=0.044, down=0.118)
    canvas.ball(cheek, 0.008, 0.006, mix(skin, (236, 90, 90), 0.3), shaded=False)


def _draw_falling_hair(canvas: Canvas, hair: Item) -> None:
    """Draw the hair behind the neck; the view decides whether it is before or after the head."""
    paint = Paint(hair.colour.rgb)
    if hair.kind in FALL:
        end = FALL[hair.kind]
        rings = (
            Ring(0.05, 0.058, 0.05),
            Ring(0.11, 0.066, 0.05),
            Ring(end - 0.03, 0.066, 0.042),
            Ring(end, 0.045, 0.03),
        )
        canvas.tube([ring._replace(middle=Point(0, -0.026, 0)) for ring in rings], paint)
    elif hair.kind == "ponytail":
        canvas.limb(
            (Point(0, -0.055, 0.06), Point(0, -0.1, 0.12), Point(0, -0.09, 0.25)),
            (0.018, 0.032, 0.014),
            paint,
        )
    elif hair.kind == "bun":
        canvas.ball(Point(0, -0.05, 0.012), 0.034, 0.03, hair.colour.rgb)


def _dome(canvas: Canvas, rgb: RGB, base: float, wide: float) -> None:
    rings = (
        Ring(-0.004, 0.022, 0.022),
        Ring(0.008, 0.048, 0.048),
        Ring(0.035, wide, wide),
        Ring(base, wide, wide),
    )
    canvas.tube(rings, Paint(rgb))


def _draw_cap(canvas: Canvas, rgb: RGB) -> None:
    brim = (Point(0, 0.035, 0.058), Point(0, 0.108, 0.07))
    if canvas.view.depth(brim[1]) < 0:
        canvas.limb(brim, (0.014, 0.014), Paint(darken(rgb, 0.2)))
    _dome(canvas, rgb, 0.062, 0.062)
    if canvas.view.depth(brim[1]) >= 0:
        canvas.limb(brim, (0.016, 0.014), Paint(darken(rgb, 0.2)))
        across = 0.058 * abs(math.cos(canvas.view.yaw))
        canvas.ball(Point(0, 0.06, 0.064), max(0.014, across), 0.013, darken(rgb, 0.2))


def _draw_beanie(canvas: Canvas, rgb: RGB) -> None:
    _dome(canvas, rgb, 0.06, 0.063)
    band = darken(rgb, 0.28)
    canvas.tube((Ring(0.046, 0.065, 0.065), Ring(0.07, 0.065, 0.065)), Paint(band))
    canvas.ball(Point(0, 0, -0.012), 0.022, 0.02, lighten(rgb, 0.3))


def _draw_sun_hat(canvas: Canvas, rgb: RGB) -> None:
    canvas.ball(Point(0, 0, 0.056), 0.122, 0.026, rgb)
    _dome(canvas, rgb, 0.05, 0.06)
    canvas.tube((Ring(0.034, 0.061, 0.061), Ring(0.05, 0.061, 0.061)), Paint(contour(rgb)))


HATS = {"cap": _draw_cap, "beanie": _draw_beanie, "sun hat": _draw_sun_hat}
