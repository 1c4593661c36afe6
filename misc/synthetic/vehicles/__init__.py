"""Synthetic vehicles, before the cameras of the synthetic pedestrians.

`draw_vehicle` invents one, `draw_shot` lets a camera catch it from one of eight sides, and
`draw_picture` paints that moment. Everything is drawn from explicit generators, so that a picture
depends on its seed, its vehicle and its number alone.
"""

from misc.synthetic.vehicles.attributes import Vehicle, draw_vehicle
from misc.synthetic.vehicles.drawing import draw_picture
from misc.synthetic.vehicles.shots import Shot, draw_shot

__all__ = ["Shot", "Vehicle", "draw_picture", "draw_shot", "draw_vehicle"]
