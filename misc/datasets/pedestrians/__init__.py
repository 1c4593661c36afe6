"""Synthetic pedestrians: people, the cameras that see them, and the sentences that describe them.

`draw_person` invents somebody, `draw_shot` lets a camera catch them once, `draw_picture` paints that moment and `describe`
puts what can be seen of them into words. Everything is drawn from explicit generators, so that a picture depends on its
seed, its identity and its number alone.
"""

from misc.datasets.pedestrians.attributes import Person, draw_identity, draw_person
from misc.datasets.pedestrians.cameras import Camera, draw_camera
from misc.datasets.pedestrians.captions import Language, describe
from misc.datasets.pedestrians.drawing import draw_picture
from misc.datasets.pedestrians.english import ENGLISH
from misc.datasets.pedestrians.facts import Facts, choose_facts
from misc.datasets.pedestrians.shots import Shot, draw_shot

__all__ = [
    "ENGLISH",
    "Camera",
    "Facts",
    "Language",
    "Person",
    "Shot",
    "choose_facts",
    "describe",
    "draw_camera",
    "draw_identity",
    "draw_person",
    "draw_picture",
    "draw_shot",
]
