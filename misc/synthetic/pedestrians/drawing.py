"""Drawing of one image: a person before a background, as the camera records it."""

from collections.abc import Callable

from numpy.random import Generator
from PIL import Image, ImageDraw

from misc.synthetic.pedestrians import clothes, things
from misc.synthetic.pedestrians.attributes import Person
from misc.synthetic.pedestrians.cameras import develop
from misc.synthetic.pedestrians.canvas import Canvas, Point, Projection
from misc.synthetic.pedestrians.head import draw_head
from misc.synthetic.pedestrians.scenery import draw_occluder, paint_place
from misc.synthetic.pedestrians.shots import Shot
from misc.synthetic.pedestrians.skeleton import Skeleton, pose

MARGIN = 0.05
SMALL = 128


def draw_picture(person: Person, shot: Shot, size: tuple[int, int], rng: Generator) -> Image.Image:
    """Draw an RGB image of this size (width, height) in pixels."""
    return develop(draw_scene(person, shot, size, rng), shot.camera, rng)


def draw_scene(person: Person, shot: Shot, size: tuple[int, int], rng: Generator) -> Image.Image:
    """Draw what is in front of the camera, before it is recorded.

    It is drawn at two or three times the size and reduced, for smooth edges.
    """
    factor = 3 if size[1] <= SMALL else 2
    large = (size[0] * factor, size[1] * factor)
    scene = paint_place(size, shot.camera, rng).resize(large, Image.Resampling.BILINEAR)
    view = _frame(person, shot, large)
    canvas = Canvas(scene, view, shot.camera.sun)
    draw_shadow(canvas)
    draw_person_in(canvas, person, pose(person, shot))
    if shot.occluder is not None:
        draw_occluder(scene, shot.occluder, rng)
    return scene.reduce(factor)


def draw_person_in(canvas: Canvas, person: Person, skeleton: Skeleton) -> None:
    """Draw all parts from far to near, the legs first, since the torso covers their tops."""
    depth = canvas.view.depth
    left_leg, right_leg = skeleton.legs
    ground: list[tuple[float, Callable[[], None]]] = [
        (depth(left_leg.knee), lambda: clothes.draw_leg(canvas, person, left_leg)),
        (depth(right_leg.knee), lambda: clothes.draw_leg(canvas, person, right_leg)),
    ]
    carried, bag = person.carried, person.bag
    if carried is not None and carried.kind == "suitcase":
        suitcase = carried
        ground.append(
            (
                depth(Point(-0.15, -0.1, 0)),
                lambda: things.draw_suitcase(canvas, suitcase, skeleton.arms[1]),
            )
        )
    body: list[tuple[float, Callable[[], None]]] = [
        (0.0, lambda: _draw_trunk(canvas, person, skeleton)),
        (depth(Point(0.09, 0, 0)) + 0.02, lambda: _draw_side(canvas, person, skeleton, 0)),
        (
            depth(skeleton.arms[1].hand._replace(lateral=-0.09)) + 0.02,
            lambda: _draw_side(canvas, person, skeleton, 1),
        ),
        (depth(Point(0, -0.03, 0)) * 0.5 + 0.015, lambda: draw_head(canvas, person)),
    ]
    if bag is not None and bag.kind == "backpack":
        backpack = bag
        body.append((depth(Point(0, -0.11, 0)), lambda: things.draw_backpack(canvas, backpack)))
    for _, draw in sorted(ground, key=lambda part: part[0]) + sorted(
        body, key=lambda part: part[0]
    ):
        draw()


def _draw_trunk(canvas: Canvas, person: Person, skeleton: Skeleton) -> None:
    clothes.draw_skirt(canvas, person, skeleton)
    clothes.draw_torso(canvas, person, skeleton)
    if person.bag is not None and person.bag.kind == "backpack":
        things.draw_backpack_straps(canvas, person.bag)
    if person.bag is not None and person.bag.kind == "shoulder bag":
        things.draw_shoulder_strap(canvas, person.bag)


def _draw_side(canvas: Canvas, person: Person, skeleton: Skeleton, side: int) -> None:
    """Draw an arm and what it holds: bags on the left (0), things in the right hand (1)."""
    arm, bag, carried = skeleton.arms[side], person.bag, person.carried
    if side == 0 and bag is not None and bag.kind == "shoulder bag":
        things.draw_shoulder_bag(canvas, bag)
    if side == 0 and bag is not None and bag.kind == "handbag":
        things.draw_handbag(canvas, bag, arm)
    if side == 1 and carried is not None:
        things.draw_carried(canvas, carried, arm)
    clothes.draw_arm(canvas, person, arm)


def _frame(person: Person, shot: Shot, size: tuple[int, int]) -> Projection:
    """The view of a detector's box: crown to sole or umbrella to sole, with a margin."""
    width, height = size
    top = head_room(person)
    scale = height * (1.0 - MARGIN) * shot.zoom / (1.02 - top)
    x = width * (0.5 + shot.shift_x)
    y = height * (0.5 + shot.shift_y) - scale * (top + 1.02) / 2
    return Projection(shot.yaw, shot.camera.pitch, scale, (x, y))


def head_room(person: Person) -> float:
    """Top of a person, in body heights below the crown: negative, and more so with an umbrella."""
    has_umbrella = person.carried is not None and person.carried.kind == "umbrella"
    return things.UMBRELLA_TOP if has_umbrella else -0.05


def draw_shadow(canvas: Canvas) -> None:
    """Draw the shadow around the feet."""
    x, y = canvas.view.pixel(Point(0, 0, 0.985))
    reach, flat = 0.2 * canvas.view.scale, 0.035 * canvas.view.scale
    x -= 0.35 * reach * canvas.sun
    ImageDraw.Draw(canvas.image, "RGBA").ellipse(
        (x - reach, y - flat, x + reach, y + flat), fill=(20, 20, 30, 90)
    )
