"""Languages of the captions, by the abbreviations in dataset file names."""

from misc.synthetic.pedestrians.captions import Language
from misc.synthetic.pedestrians.chinese import CHINESE
from misc.synthetic.pedestrians.english import ENGLISH

# Append new languages: the random draws of a language depend on its position.
LANGUAGES: dict[str, Language] = {"en": ENGLISH, "ch": CHINESE}
