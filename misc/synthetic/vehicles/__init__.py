"""Synthetic vehicles, seen by the same cameras as the synthetic pedestrians.

`draw_vehicle` draws a vehicle's attributes, `draw_shot` viewpoint and framing of one image, and
`draw_picture` paints it. All draws come from explicit generators, so that an image depends only on
its seed, its vehicle and its number.
"""

from misc.synthetic.vehicles.attributes import Vehicle, draw_vehicle
from misc.synthetic.vehicles.drawing import draw_picture
from misc.synthetic.vehicles.shots import Shot, draw_shot

__all__ = ["Shot", "Vehicle", "draw_picture", "draw_shot", "draw_vehicle"]
