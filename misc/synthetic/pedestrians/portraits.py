"""Portraits of pedestrians that match a text with a garment and its colour."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from PIL import Image

from misc.synthetic.pedestrians.attributes import OPEN_UPPERS, UPPERS, Item, draw_person
from misc.synthetic.pedestrians.cameras import draw_camera
from misc.synthetic.pedestrians.chance import Stream, generator
from misc.synthetic.pedestrians.drawing import draw_picture
from misc.synthetic.pedestrians.languages import LANGUAGES
from misc.synthetic.pedestrians.palette import dye
from misc.synthetic.pedestrians.shots import YAWS, draw_shot

# Square, since AltCLIP's processor crops head and feet from a taller image.
SIZE = (256, 256)
GENDERS = {
    "woman": re.compile(r"女|\b(woman|women|lady|girl|female)\b"),
    "man": re.compile(r"男|\b(man|men|guy|boy|male)\b"),
}


@dataclass(frozen=True)
class Portrait:
    """A person with one distinctive garment above the waist, and otherwise plain clothes."""

    gender: str
    colour: str
    garment: str

    def __str__(self) -> str:
        return f"{self.gender}, {self.colour} {self.garment}"

    def draw(self, seed: int = 0) -> Image.Image:
        """Draw the person from the front; the seed chooses face, pose and background."""
        rng = generator(seed, Stream.PICTURE)
        person = replace(
            draw_person(rng, self.gender),
            upper=Item(self.garment, dye(rng, self.colour)),
            inner=Item("t-shirt", dye(rng, "grey")) if self.garment in OPEN_UPPERS else None,
            lower=None if self.garment == "dress" else Item("trousers", dye(rng, "grey")),
            shoes=Item("leather shoes", dye(rng, "black")),
            hat=None,
            eyewear=None,
            scarf=None,
            bag=None,
            carried=None,
        )
        shot = draw_shot(rng, draw_camera(seed, seed, difficulty=0.0), difficulty=0.0)
        shot = replace(shot, facing="front", yaw=YAWS["front"], occluder=None)
        return draw_picture(person, shot, SIZE, rng)


@dataclass(frozen=True)
class Wanted:
    """Portraits that a text asks for: one colour, and the possible genders and garments."""

    genders: tuple[str, ...]
    colour: str
    garments: tuple[str, ...]

    def fits(self, portrait: Portrait) -> bool:
        return (
            portrait.gender in self.genders
            and portrait.colour == self.colour
            and portrait.garment in self.garments
        )

    @property
    def example(self) -> Portrait:
        return Portrait(self.genders[0], self.colour, self.garments[0])


def read_wanted(text: str) -> Wanted | None:
    """Parse the first garment with a colour in a text of any supported language, if any."""
    text = text.lower()
    found = _PHRASE.search(text)
    if found is None:
        return None
    genders = tuple(gender for gender, words in GENDERS.items() if words.search(text))
    return Wanted(genders or tuple(GENDERS), _COLOURS[found[1]], _GARMENTS[found[2]])


def _garments() -> dict[str, tuple[str, ...]]:
    """Words for garments above the waist, each with the kinds of garment it may mean."""
    meanings: dict[str, dict[str, None]] = defaultdict(dict)  # an ordered set
    for language in LANGUAGES.values():
        for kind in UPPERS["woman"]:
            # Vague words for a dress, such as `clothes`, rarely mean one.
            vague = language.vague_nouns[kind] if kind != "dress" else ()
            for noun in (*language.nouns[kind], *vague):
                meanings[noun.partition("{}")[2].strip().lower()][kind] = None
    return {word: tuple(kinds) for word, kinds in meanings.items()}


_COLOURS = {
    word: colour
    for language in LANGUAGES.values()
    for colour, words in language.colours.items()
    for word in words
}
_GARMENTS = _garments()


def _any_of(words: Iterable[str]) -> str:
    """A regex group of alternatives, the longest first: `light blue` before `blue`."""
    return f"({'|'.join(map(re.escape, sorted(words, key=len, reverse=True)))})"


# Word boundaries for Latin letters only, since Chinese has no spaces.
_PHRASE = re.compile(rf"(?<![a-z]){_any_of(_COLOURS)}\s*的?{_any_of(_GARMENTS)}(?![a-z])")
