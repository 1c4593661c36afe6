"""Drawing of one image: a vehicle on a road, as the camera records it."""

import math

from numpy.random import Generator
from PIL import Image, ImageDraw

from misc.synthetic.pedestrians.cameras import develop
from misc.synthetic.pedestrians.canvas import Pixel, Point, Projection
from misc.synthetic.pedestrians.chance import between
from misc.synthetic.pedestrians.palette import contour, darken, lighten
from misc.synthetic.pedestrians.scenery import draw_occluder, paint_place
from misc.synthetic.vehicles.assembly import assemble
from misc.synthetic.vehicles.attributes import Vehicle
from misc.synthetic.vehicles.shapes import SIDES, Panel, Solid
from misc.synthetic.vehicles.shots import Shot

MARGIN = 0.08
ASPECT = (0.75, 1.8)  # least and greatest width / height
EDGE_ON = 1e-6  # panels that face the camera less than this are not drawn
FACTOR = 2  # drawn larger and reduced, for smooth edges


def draw_picture(
    vehicle: Vehicle, shot: Shot, height: tuple[int, int], rng: Generator
) -> Image.Image:
    """Draw an RGB image of the whole vehicle with a margin.

    Args:
        height: range of the image height in pixels; the width follows from the view.
    """
    layers = assemble(vehicle)
    left, top, right, bottom = _box(layers, shot)
    tall = int(between(rng, height[0], height[1] + 1))
    aspect = min(max((right - left) / (bottom - top), ASPECT[0]), ASPECT[1])
    size = (round(tall * aspect), tall)
    large = (FACTOR * size[0], FACTOR * size[1])
    fit = min(large[0] / (right - left), large[1] / (bottom - top))
    scale = (1.0 - MARGIN) * shot.zoom * fit
    x = large[0] * (0.5 + shot.shift_x) - scale * (left + right) / 2
    y = large[1] * (0.5 + shot.shift_y) - scale * (top + bottom) / 2
    scene = paint_place(size, shot.camera, rng).resize(large, Image.Resampling.BILINEAR)
    view = Projection(shot.yaw, shot.camera.pitch, scale, (x, y))
    _draw_vehicle(scene, layers, view, shot.camera.sun)
    if shot.occluder is not None:
        draw_occluder(scene, shot.occluder, rng)
    return develop(scene.reduce(FACTOR), shot.camera, rng)


def _box(layers: list[list[Solid]], shot: Shot) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the vehicle in this view, in metres."""
    view = Projection(shot.yaw, shot.camera.pitch, 1.0, (0.0, 0.0))
    panels = [panel for layer in layers for solid in layer for panel in solid.panels.values()]
    xs, ys = zip(*(view.pixel(point) for panel in panels for point in panel.outline), strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _draw_vehicle(
    scene: Image.Image, layers: list[list[Solid]], view: Projection, sun: int
) -> None:
    """Draw layer after layer, each from far to near, and only panels that face the camera."""
    pen = ImageDraw.Draw(scene, "RGBA")
    left, right = (layers[0][0].panels[side].outline for side in SIDES)
    shadow = [left[0], left[-1], right[-1], right[0]]
    spread = [point._replace(lateral=1.3 * point.lateral, down=0.0) for point in shadow]
    pen.polygon([view.pixel(point) for point in spread], fill=(20, 20, 30, 110))
    for layer in layers:
        for solid in sorted(layer, key=lambda solid: view.depth(solid.middle)):
            for panel in solid.panels.values():
                if _faces(panel.normal, view) > EDGE_ON:
                    _draw_panel(pen, panel, view, sun)


def _faces(normal: Point, view: Projection) -> float:
    """Positive if a panel's outside faces the camera."""
    return view.depth(normal) * math.cos(view.pitch) - normal.down * math.sin(view.pitch)


def _draw_panel(pen: ImageDraw.ImageDraw, panel: Panel, view: Projection, sun: int) -> None:
    def pixels(points: list[Point]) -> list[Pixel]:
        return [view.pixel(point) for point in points]

    across = panel.normal.lateral * math.cos(view.yaw) + panel.normal.forward * math.sin(view.yaw)
    light = -0.16 * panel.normal.down + 0.14 * across * sun - 0.04
    line = max(1, round(0.02 * view.scale))
    for points, rgb in ((panel.outline, panel.rgb), *panel.paint):
        shaded = lighten(rgb, light) if light > 0 else darken(rgb, -light)
        pen.polygon(pixels(points), fill=shaded)
    pen.line(pixels([*panel.outline, panel.outline[0]]), fill=contour(panel.rgb), width=line)
