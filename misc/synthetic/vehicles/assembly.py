"""Assembly of a vehicle from its attributes: solids painted with glass, lamps, wheels and marks."""

from misc.synthetic.pedestrians.attributes import Item
from misc.synthetic.pedestrians.palette import RGB, darken, mix
from misc.synthetic.vehicles.attributes import Sticker, Vehicle
from misc.synthetic.vehicles.shapes import (
    BOX,
    SHAPES,
    SIDES,
    Flat,
    Outline,
    Shape,
    Solid,
    disc,
    rectangle,
)

GLASS: tuple[RGB, RGB] = ((150, 172, 186), (30, 36, 44))  # lightest and darkest
TYRE: RGB = (28, 28, 32)
CHASSIS: RGB = (44, 44, 48)
LAMP: RGB = (250, 246, 218)
TAIL_LAMP: RGB = (196, 24, 30)
PLATE: RGB = (44, 82, 170)


def assemble(vehicle: Vehicle) -> list[list[Solid]]:
    """Layers of solids, in drawing order: later ones are on top of or around earlier ones."""
    shape, paint, second = SHAPES[vehicle.kind], vehicle.paint.rgb, vehicle.second
    body = Solid(shape.body, paint, vehicle.stretch)
    top = Solid(shape.cabin, paint, vehicle.stretch) if shape.cabin else body
    back = body
    if shape.cargo:
        back = Solid(shape.cargo, second.rgb if second else paint, vehicle.stretch)
    elif second:
        top.panels["roof"].rgb = second.rgb
    _paint_ends(body, back, shape, vehicle)
    _paint_glass(top, shape, vehicle)
    for side in SIDES:
        _paint_marks(back, side, shape, vehicle)
        _paint_wheels(body, back, side, shape, vehicle)
    for sticker in vehicle.stickers:
        _paint_sticker(sticker, body, back, top, shape)
    chassis = rectangle(0.94 * back.rear, 0.94 * body.front, 0.04, back.foot + 0.02)
    width = 0.86 * body.widths[0]
    layers = [
        [Solid(Outline(chassis, BOX, (width, width)), TYRE, vehicle.stretch)],
        [body] if back is body else [back, body],
        [] if top is body else [top],
    ]
    if vehicle.load:
        layers.append([_load(vehicle.load, top, vehicle.stretch)])
    return layers


def _load(load: Item, top: Solid, stretch: Flat) -> Solid:
    """The load on the roof."""
    long, tall, width, rgb = {
        "rails": (0.8, 0.09, 0.8, CHASSIS),
        "box": (0.7, 0.32, 0.7, load.colour.rgb),
        "sign": (0.18, 0.2, 0.45, load.colour.rgb),
    }[load.kind]
    roof = [point.forward / stretch[0] for point in top.panels["roof"].outline]
    middle, half = (min(roof) + max(roof)) / 2, long * (max(roof) - min(roof)) / 2
    corners = rectangle(middle - half, middle + half, top.top, top.top + tall)
    return Solid(Outline(corners, BOX, (width * top.widths[1],) * 2), rgb, stretch)


def _paint_ends(body: Solid, back: Solid, shape: Shape, vehicle: Vehicle) -> None:
    bumper = CHASSIS if vehicle.dark_bumper else darken(vehicle.paint.rgb, 0.15)
    for solid, name, (high, low), lamp in (
        (body, "front", shape.lamps[0], LAMP),
        (back, "rear", shape.lamps[1], TAIL_LAMP),
    ):
        solid.paint(name, rectangle(-1, 1, max(low, 0.78), 1), bumper)
        solid.paint(name, rectangle(-0.26, 0.26, low, low + 0.16), PLATE)
        for inner, outer in ((-0.62, -0.95), (0.62, 0.95)):
            solid.paint(name, rectangle(inner, outer, high, low), lamp)
    body.paint("front", rectangle(-0.5, 0.5, shape.lamps[0][0], shape.lamps[0][1] - 0.06), CHASSIS)


def _paint_glass(top: Solid, shape: Shape, vehicle: Vehicle) -> None:
    glass = mix(*GLASS, round(vehicle.shade, 2))
    for name, edges in shape.screens.items():
        top.paint(name, rectangle(-0.88, 0.88, *edges), glass)
    for window in shape.windows:
        for side in SIDES:
            top.paint_side(side, window, glass)
    if vehicle.ornament:
        name, (_, low) = next(iter(shape.screens.items()))
        top.paint(name, rectangle(-0.6, 0.1, low - 0.16, low - 0.02), vehicle.ornament.rgb)


def _paint_marks(back: Solid, side: str, shape: Shape, vehicle: Vehicle) -> None:
    (forward, up), radius = shape.emblem
    if vehicle.stripe:
        low, high = up - 0.45 * radius, up + 0.45 * radius
        back.paint_side(side, rectangle(back.rear, back.front, low, high), vehicle.stripe.rgb)
    if vehicle.emblem:
        polygon = _emblem(vehicle.emblem, (forward, up), radius)
        back.paint_side(side, polygon, vehicle.emblem.colour.rgb)


def _emblem(emblem: Item, middle: Flat, radius: float) -> list[Flat]:
    if emblem.kind == "disc":
        return disc(middle, radius)
    x, up = middle
    if emblem.kind == "square":
        return list(rectangle(x - radius, x + radius, up - radius, up + radius))
    return [(x - 1.4 * radius, up), (x, up + radius), (x + 1.4 * radius, up), (x, up - radius)]


def _paint_wheels(body: Solid, back: Solid, side: str, shape: Shape, vehicle: Vehicle) -> None:
    axles, radius = shape.wheels
    for axle in axles:
        solid = back if axle < back.front else body
        for share, rgb in ((1.0, TYRE), (0.62, vehicle.rim), (0.2, TYRE)):
            solid.paint_side(side, disc((axle, radius), share * radius), rgb)


def _paint_sticker(sticker: Sticker, body: Solid, back: Solid, top: Solid, shape: Shape) -> None:
    size, rgb = sticker.size, sticker.colour.rgb
    if sticker.place in SIDES:
        x = back.rear + sticker.along * (back.front - back.rear)
        up = back.top - sticker.down * (back.top - back.foot)
        back.paint_side(sticker.place, rectangle(x - size, x + size, up - size, up + size), rgb)
        return
    screens = list(shape.screens)
    solid, name = {
        "windscreen": (top, screens[0]),
        "rear window": (top, screens[-1]),
        "bonnet": (body, "bonnet" if "bonnet" in body.panels else "front"),
        "rear": (back, "rear"),
    }[sticker.place]
    x, fall = 2 * sticker.along - 1, sticker.down
    solid.paint(name, rectangle(x - size / 2, x + size / 2, fall - size, fall + size), rgb)
