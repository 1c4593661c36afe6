"""Drawing of bags and carried things."""

import math

from misc.synthetic.pedestrians.attributes import Item
from misc.synthetic.pedestrians.canvas import Canvas, Paint, Point, Ring
from misc.synthetic.pedestrians.palette import RGB, contour, darken, lighten
from misc.synthetic.pedestrians.skeleton import Arm

UMBRELLA_TOP = -0.19


def draw_backpack(canvas: Canvas, bag: Item) -> None:
    rgb = bag.colour.rgb
    rings = (
        Ring(0.2, 0.045, 0.025),
        Ring(0.215, 0.07, 0.045),
        Ring(0.42, 0.078, 0.056),
        Ring(0.445, 0.062, 0.045),
    )
    canvas.tube([ring._replace(middle=Point(0, -0.112, 0)) for ring in rings], Paint(rgb))
    if math.cos(canvas.view.yaw) < 0.3:
        pocket = (Ring(0.335, 0.048, 0.02), Ring(0.425, 0.05, 0.022))
        canvas.tube(
            [ring._replace(middle=Point(0, -0.15, 0)) for ring in pocket], Paint(darken(rgb, 0.2))
        )


def draw_backpack_straps(canvas: Canvas, bag: Item) -> None:
    for side in (-1, 1):
        strap = [
            Point(0.06 * side, 0.0, 0.183),
            Point(0.062 * side, 0.06, 0.22),
            Point(0.066 * side, 0.07, 0.36),
        ]
        if canvas.view.depth(strap[-1]) > 0:
            canvas.stroke(strap, 0.03, contour(bag.colour.rgb))
            canvas.stroke(strap, 0.022, bag.colour.rgb)


def draw_shoulder_strap(canvas: Canvas, bag: Item) -> None:
    """Draw the strap from the right shoulder to the left hip, over the visible side."""
    for side in (-1, 1):
        strap = [
            Point(-0.06, 0.0, 0.183),
            Point(-0.03, 0.066 * side, 0.25),
            Point(0.1, 0.05 * side, 0.45),
        ]
        if canvas.view.depth(Point(0, float(side), 0)) > 0:
            canvas.stroke(strap, 0.022, contour(bag.colour.rgb))
            canvas.stroke(strap, 0.014, bag.colour.rgb)


def draw_shoulder_bag(canvas: Canvas, bag: Item) -> None:
    rings = (Ring(0.425, 0.04, 0.07), Ring(0.54, 0.044, 0.075), Ring(0.555, 0.034, 0.06))
    middle = Point(0.115, 0.0, 0.0)
    canvas.tube([ring._replace(middle=middle) for ring in rings], Paint(bag.colour.rgb))
    flap = (Ring(0.425, 0.041, 0.071), Ring(0.475, 0.041, 0.071))
    canvas.tube(
        [ring._replace(middle=middle) for ring in flap], Paint(darken(bag.colour.rgb, 0.22))
    )


def draw_handbag(canvas: Canvas, bag: Item, arm: Arm) -> None:
    _draw_hanging(canvas, bag.colour.rgb, arm.hand, wide=0.062, tall=0.085)


def draw_carried(canvas: Canvas, thing: Item, arm: Arm) -> None:
    """Draw the thing in the hand of this arm; `draw_suitcase` is separate."""
    hand, rgb = arm.hand, thing.colour.rgb
    if thing.kind == "umbrella":
        _draw_umbrella(canvas, rgb, hand)
    elif thing.kind == "phone":
        canvas.limb(
            (_moved(hand, 0.012, -0.035), _moved(hand, 0.0, 0.015)), (0.017, 0.017), Paint(rgb)
        )
        canvas.ball(_moved(hand, 0.016, -0.02), 0.009, 0.016, (150, 210, 240), shaded=False)
    elif thing.kind == "bottle":
        canvas.limb((_moved(hand, 0.0, -0.03), _moved(hand, 0.0, 0.04)), (0.021, 0.021), Paint(rgb))
        canvas.ball(_moved(hand, 0.0, -0.056), 0.011, 0.011, (238, 238, 238))
    elif thing.kind == "cup":
        canvas.limb(
            (_moved(hand, 0.0, -0.03), _moved(hand, 0.0, 0.018)), (0.025, 0.018), Paint(rgb)
        )
        canvas.ball(_moved(hand, 0.0, -0.048), 0.025, 0.009, darken(rgb, 0.6), shaded=False)
    elif thing.kind == "book":
        rings = (Ring(-0.045, 0.045, 0.02), Ring(0.035, 0.045, 0.02))
        canvas.tube([ring._replace(middle=_moved(hand, 0.01, 0.0)) for ring in rings], Paint(rgb))
        page = [_moved(hand, 0.03, 0.03), _moved(hand, 0.03, -0.04)]
        canvas.stroke(page, 0.009, (246, 244, 232))
    elif thing.kind == "flowers":
        _draw_flowers(canvas, rgb, hand)
    elif thing.kind == "shopping bag":
        _draw_hanging(canvas, rgb, hand, wide=0.06, tall=0.13)


def draw_suitcase(canvas: Canvas, suitcase: Item, arm: Arm) -> None:
    """Draw a suitcase rolling behind on the right, with its handle in the hand."""
    rgb = suitcase.colour.rgb
    middle = Point(-0.15, -0.1, 0.0)
    canvas.stroke([arm.hand, Point(-0.15, -0.1, 0.72)], 0.016, (90, 92, 98))
    for wheel in (-0.05, 0.05):
        canvas.ball(Point(-0.15 + wheel, -0.1 + wheel, 0.98), 0.014, 0.014, (40, 40, 44))
    rings = (
        Ring(0.715, 0.06, 0.075),
        Ring(0.73, 0.068, 0.085),
        Ring(0.955, 0.068, 0.085),
        Ring(0.968, 0.06, 0.075),
    )
    canvas.tube([ring._replace(middle=middle) for ring in rings], Paint(rgb))
    for rib in (0.79, 0.87):
        stripe = (Ring(rib, 0.068, 0.085), Ring(rib + 0.012, 0.068, 0.085))
        canvas.tube([ring._replace(middle=middle) for ring in stripe], Paint(darken(rgb, 0.25)))


def _draw_hanging(canvas: Canvas, rgb: RGB, hand: Point, wide: float, tall: float) -> None:
    for side in (-0.6, 0.6):
        canvas.stroke([hand, _moved(hand, side * wide, 0.055)], 0.009, contour(rgb))
    rings = (Ring(0.05, 0.55 * wide, wide * 0.9), Ring(0.05 + tall, 0.62 * wide, wide))
    canvas.tube([ring._replace(middle=hand) for ring in rings], Paint(rgb))
    label = _moved(hand, 0.0, 0.05 + 0.45 * tall)
    canvas.ball(
        label,
        0.014,
        0.014,
        lighten(rgb, 0.5) if sum(rgb) < 450 else darken(rgb, 0.35),
        shaded=False,
    )


def _draw_umbrella(canvas: Canvas, rgb: RGB, hand: Point) -> None:
    middle = Point(-0.035, hand.forward * 0.5, 0.0)
    canvas.stroke(
        [hand._replace(down=hand.down + 0.03), Point(-0.035, middle.forward, -0.1)],
        0.012,
        (70, 60, 56),
    )
    rings = (
        Ring(UMBRELLA_TOP, 0.012, 0.012),
        Ring(-0.17, 0.1, 0.1),
        Ring(-0.12, 0.17, 0.17),
        Ring(-0.06, 0.205, 0.205),
    )
    canvas.tube([ring._replace(middle=middle) for ring in rings], Paint(rgb))
    narrow = (Ring(-0.185, 0.01, 0.01), Ring(-0.13, 0.045, 0.045), Ring(-0.06, 0.06, 0.06))
    canvas.tube([ring._replace(middle=middle) for ring in narrow], Paint(lighten(rgb, 0.12)))
    for step in (-0.15, -0.05, 0.05, 0.15):
        canvas.ball(
            Point(middle.lateral + step, middle.forward + step, -0.058),
            0.052,
            0.01,
            darken(rgb, 0.35),
            False,
        )


def _draw_flowers(canvas: Canvas, rgb: RGB, hand: Point) -> None:
    canvas.limb(
        (_moved(hand, 0.0, 0.045), _moved(hand, 0.0, -0.03)), (0.01, 0.034), Paint((240, 236, 220))
    )
    for across, up in (
        (-0.03, -0.045),
        (0.03, -0.045),
        (0.0, -0.07),
        (-0.035, -0.075),
        (0.035, -0.08),
    ):
        bloom = Point(hand.lateral + across, hand.forward + across, hand.down + up)
        canvas.ball(bloom, 0.022, 0.021, rgb)
        canvas.ball(bloom, 0.008, 0.008, (250, 214, 90), shaded=False)


def _moved(point: Point, forward: float, down: float) -> Point:
    return Point(point.lateral, point.forward + forward, point.down + down)
