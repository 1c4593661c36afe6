"""Synthetic pedestrians: people, cameras, images and captions.

`draw_identity` draws a person's attributes, `draw_shot` the pose and framing of one image,
`draw_picture` paints it, `choose_facts` and `describe` write its caption. All draws come from
explicit generators, so that an image depends only on its seed, its identity and its number.
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
