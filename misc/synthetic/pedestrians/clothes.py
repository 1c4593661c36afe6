"""Drawing of the body and its clothes."""

import math
from dataclasses import replace

from misc.synthetic.pedestrians.attributes import Item, Person
from misc.synthetic.pedestrians.canvas import Canvas, Paint, Point, Ring
from misc.synthetic.pedestrians.palette import RGB, contour, darken, lighten
from misc.synthetic.pedestrians.skeleton import Arm, Leg, Skeleton

SHORT_SLEEVED = ("t-shirt", "dress")
SKIRT_HEMS = {"skirt": 0.69, "long skirt": 0.88, "dress": 0.72}
HEMS = {"coat": 0.7, "hoodie": 0.53, "jacket": 0.52, "sweater": 0.52, "shirt": 0.53}
LOOSE = ("coat", "hoodie", "jacket", "sweater")


def draw_leg(canvas: Canvas, person: Person, leg: Leg) -> None:
    skin = Paint(person.skin)
    girth = 0.3 + 0.7 * person.girth
    radii = [0.046 * girth, 0.036 * girth, 0.024]
    canvas.limb((leg.hip, leg.knee, leg.ankle), radii, skin)
    _draw_shoe(canvas, person.shoes, leg, person.skin)
    lower = person.lower
    if lower is None or lower.kind in SKIRT_HEMS:
        return
    paint = Paint.of(lower)
    if lower.kind == "shorts":
        wide = (0.052 * girth, 0.058 * girth)
        canvas.limb((leg.hip, _between(leg.hip, leg.knee, 0.88)), wide, paint, cut=True)
        return
    loose = {"leggings": 0.001, "jeans": 0.006}.get(lower.kind, 0.012)
    end = _between(leg.knee, leg.ankle, 0.9)
    canvas.limb((leg.hip, leg.knee, end), [radius + loose for radius in radii], paint, cut=True)
    if lower.kind == "jeans":
        faded = [_between(leg.hip, leg.knee, share) for share in (0.35, 0.95)]
        canvas.stroke(faded, 0.02, lighten(paint.rgb, 0.16))


def _draw_shoe(canvas: Canvas, shoes: Item, leg: Leg, skin: RGB) -> None:
    rgb = shoes.colour.rgb
    heel = leg.ankle._replace(forward=leg.ankle.forward - 0.012, down=leg.ankle.down + 0.022)
    toe = leg.ankle._replace(forward=leg.ankle.forward + 0.062, down=leg.ankle.down + 0.03)
    if shoes.kind == "boots":
        shaft = (leg.ankle, _between(leg.knee, leg.ankle, 0.5))
        canvas.limb(shaft, (0.03, 0.036), Paint(rgb), cut=True)
    if shoes.kind == "sandals":
        canvas.limb((heel, toe), (0.022, 0.02), Paint(skin))
        for share in (0.15, 0.75):
            strap = _between(heel, toe, share)
            canvas.stroke([_sunk(strap, -0.02), _sunk(strap, 0.016)], 0.02, rgb)
        canvas.stroke([_sunk(heel, 0.018), _sunk(toe, 0.016)], 0.014, rgb)
        return
    thickness = 0.022 if shoes.kind == "flats" else 0.027
    canvas.limb((heel, toe), (thickness, thickness * 0.9), Paint(rgb))
    if shoes.kind == "sneakers":
        sole = (240, 240, 240) if sum(rgb) < 660 else (60, 60, 70)
        canvas.stroke([_sunk(heel, 0.02), _sunk(toe, 0.016)], 0.011, sole)


def draw_skirt(canvas: Canvas, person: Person, skeleton: Skeleton) -> None:
    garment = person.upper if person.lower is None else person.lower
    if garment.kind not in SKIRT_HEMS:
        return
    hem = SKIRT_HEMS[garment.kind]
    stride = max(abs(leg.knee.forward) for leg in skeleton.legs)
    share = min(1.0, (hem - 0.5) / 0.25)
    rings = (
        Ring(0.42, 0.07 * person.girth, 0.06 * person.girth),
        Ring(0.53, 0.092 * person.girth, 0.075 * person.girth),
        Ring(hem - 0.03, 0.115 * person.girth, 0.08 + stride * share),
        Ring(hem, 0.12 * person.girth, 0.085 + stride * share),
    )
    canvas.tube(rings, Paint.of(garment))


def draw_torso(canvas: Canvas, person: Person, skeleton: Skeleton) -> None:
    upper = person.upper
    canvas.tube(_torso(person, skeleton, upper), Paint.of(upper))
    faces_camera = math.cos(canvas.view.yaw) > 0.25
    if person.inner is not None and math.cos(canvas.view.yaw) > 0.1:
        _draw_opening(canvas, person.inner.colour.rgb, upper)
    if faces_camera:
        _draw_front(canvas, upper)
    if upper.kind == "hoodie":
        _draw_hood(canvas, upper.colour.rgb)
    if upper.kind in ("dress", "coat"):
        belt = contour(upper.colour.rgb)
        half = 0.078 * person.girth + (0.014 if upper.kind == "coat" else 0.0)
        canvas.tube((Ring(0.405, half, half * 0.82), Ring(0.428, half, half * 0.82)), Paint(belt))


def _torso(person: Person, skeleton: Skeleton, upper: Item) -> list[Ring]:
    """Rings of shoulders, chest, waist and hem; a heavy person is widest at the waist."""
    ease = 0.012 if upper.kind in LOOSE else 0.0
    wide = skeleton.shoulder_width + ease
    deep = 0.058 * person.girth + ease
    waist = (0.076 if person.gender == "man" else 0.064) * person.girth**1.5 + ease
    hip = (0.084 if person.gender == "man" else 0.09) * person.girth + ease
    hem = HEMS.get(upper.kind, 0.51)
    rings = [
        Ring(0.178, 0.034, 0.034),
        Ring(0.192, wide * 0.82, deep * 0.8),
        Ring(0.225, wide, deep),
        Ring(0.3, wide * 0.97, deep * 1.15),
        Ring(0.4, waist, deep * 1.1),
        Ring(min(hem, 0.5), hip, deep * 1.2),
    ]
    if upper.kind != "dress":
        flare = 1.12 if upper.kind == "coat" else 1.0
        rings.append(
            Ring(hem, hip * flare, deep * 1.2 * flare + (0.03 if upper.kind == "coat" else 0.0))
        )
    return rings


def _draw_opening(canvas: Canvas, rgb: RGB, upper: Item) -> None:
    """Draw the shirt under an open jacket, and the lapels."""
    end = HEMS[upper.kind] - 0.03
    front = (
        Point(-0.022, 0.07, 0.19),
        Point(0.022, 0.07, 0.19),
        Point(0.04, 0.085, end),
        Point(-0.04, 0.085, end),
    )
    canvas.patch(front, rgb)
    for side in (-1, 1):
        lapel = (
            Point(0.02 * side, 0.07, 0.185),
            Point(0.055 * side, 0.06, 0.23),
            Point(0.03 * side, 0.085, 0.31),
        )
        canvas.patch(lapel, lighten(upper.colour.rgb, 0.12))


def _draw_front(canvas: Canvas, upper: Item) -> None:
    rgb = upper.colour.rgb
    if upper.pattern == "print" and upper.accent is not None:
        canvas.ball(Point(0, 0.07, 0.29), 0.04, 0.038, upper.accent.rgb)
        canvas.ball(Point(0, 0.07, 0.29), 0.016, 0.016, rgb, shaded=False)
    if upper.kind == "shirt":
        canvas.stroke([Point(0, 0.066, 0.19), Point(0, 0.07, 0.51)], 0.009, contour(rgb))
        for side in (-1, 1):
            collar = (
                Point(0, 0.066, 0.215),
                Point(0.036 * side, 0.05, 0.175),
                Point(0.046 * side, 0.055, 0.21),
            )
            canvas.patch(collar, lighten(rgb, 0.3))
    if upper.kind == "sweater":
        canvas.stroke([Point(-0.04, 0.06, 0.51), Point(0.04, 0.06, 0.51)], 0.018, contour(rgb))


def _draw_hood(canvas: Canvas, rgb: RGB) -> None:
    behind = math.cos(canvas.view.yaw) < 0.2
    rings = (
        Ring(0.165, 0.05, 0.045),
        Ring(0.19, 0.068, 0.055),
        Ring(0.235 if behind else 0.205, 0.05, 0.04),
    )
    canvas.tube(
        [ring._replace(middle=Point(0, -0.03, 0)) for ring in rings], Paint(darken(rgb, 0.12))
    )
    if not behind:
        for side in (-1, 1):
            canvas.stroke(
                [Point(0.02 * side, 0.066, 0.2), Point(0.024 * side, 0.072, 0.28)],
                0.007,
                (240, 240, 236),
            )


def draw_arm(canvas: Canvas, person: Person, arm: Arm) -> None:
    girth = 0.5 + 0.5 * person.girth
    canvas.limb((arm.elbow, arm.hand), (0.022 * girth, 0.016), Paint(person.skin))
    canvas.ball(arm.hand, 0.021, 0.021, person.skin)
    kind, paint = person.upper.kind, Paint.of(person.upper)
    if kind in (*SHORT_SLEEVED, "tank top"):
        canvas.limb((arm.shoulder, arm.elbow), (0.028 * girth, 0.022 * girth), Paint(person.skin))
        if kind != "tank top":
            sleeve = (arm.shoulder, _between(arm.shoulder, arm.elbow, 0.75))
            canvas.limb(sleeve, (0.034 * girth, 0.037 * girth), paint, cut=True)
        return
    loose = 0.008 if kind in LOOSE else 0.002
    cuff = _between(arm.elbow, arm.hand, 0.86)
    radii = (0.031 * girth + loose, 0.027 * girth + loose, 0.022 + loose)
    cloth = replace(paint, rgb=darken(paint.rgb, 0.05))
    canvas.limb((arm.shoulder, arm.elbow, cuff), radii, cloth, cut=True)


def _between(first: Point, second: Point, share: float) -> Point:
    return Point(*(a + share * (b - a) for a, b in zip(first, second, strict=True)))


def _sunk(point: Point, down: float) -> Point:
    return point._replace(down=point.down + down)
