"""The languages that the synthetic pedestrians are described in, under their datasets' names."""

from misc.synthetic.pedestrians.captions import Language
from misc.synthetic.pedestrians.chinese import CHINESE
from misc.synthetic.pedestrians.english import ENGLISH

# A new one goes to the end: what is drawn for a language depends on its place.
LANGUAGES: dict[str, Language] = {"en": ENGLISH, "ch": CHINESE}
