"""Synthetic pedestrians: people, the cameras that see them, and the sentences that describe them.

`draw_identity` invents somebody, `draw_shot` lets a camera catch them once, `draw_picture` paints
that moment, `choose_facts` and `describe` put what can be seen of them into words. Everything is
drawn from explicit generators, so that a picture depends on its seed, its identity and its number
alone.
"""

from misc.synthetic.pedestrians.attributes import Person, draw_identity
from misc.synthetic.pedestrians.cameras import Camera, draw_camera
from misc.synthetic.pedestrians.captions import Language, describe
from misc.synthetic.pedestrians.chinese import CHINESE
from misc.synthetic.pedestrians.drawing import draw_picture
from misc.synthetic.pedestrians.english import ENGLISH
from misc.synthetic.pedestrians.facts import Facts, choose_facts
from misc.synthetic.pedestrians.languages import LANGUAGES
from misc.synthetic.pedestrians.shots import Shot, draw_shot, draw_size

__all__ = [
    "CHINESE",
    "ENGLISH",
    "LANGUAGES",
    "Camera",
    "Facts",
    "Language",
    "Person",
    "Shot",
    "choose_facts",
    "describe",
    "draw_camera",
    "draw_identity",
    "draw_picture",
    "draw_shot",
    "draw_size",
]
