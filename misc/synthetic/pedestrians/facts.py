"""Facts that a caption mentions: a random subset of the visible attributes."""

from dataclasses import dataclass, replace

from numpy.random import Generator

from misc.synthetic.pedestrians.attributes import Item, Person
from misc.synthetic.pedestrians.chance import happens, pick
from misc.synthetic.pedestrians.shots import Shot, visible_attributes

MAIN = ("upper", "lower")
EXTRAS = ("hat", "eyewear", "scarf", "shoes")
CARRIED = ("bag", "carried")
# In the order of the draws, which must not change: the captions of a seed depend on it.
NAMES = ("gender", "build", "hair", *EXTRAS, "inner", *CARRIED, *MAIN)


@dataclass(frozen=True)
class Facts:
    """Content of a caption.

    Args:
        names: attributes of `person` that are mentioned.
        vague: those of them that are described vaguely.
        facing: side that is seen; None if the caption does not mention the movement.
    """

    person: Person
    names: frozenset[str]
    vague: frozenset[str]
    walking: bool
    facing: str | None

    def item(self, name: str) -> Item:
        item = getattr(self.person, name)
        assert isinstance(item, Item), name
        return item

    def among(self, names: tuple[str, ...]) -> list[str]:
        return [name for name in names if name in self.names]


def choose_facts(person: Person, shot: Shot, difficulty: float, rng: Generator) -> Facts:
    """Draw the facts of a caption.

    At least one garment, above or below the waist, is always mentioned.

    Args:
        difficulty: at 0 nearly all visible attributes are mentioned, exactly; at 1 about a third,
            half of them vaguely.
    """
    visible = visible_attributes(person, shot)
    if person.upper.pattern == "print" and shot.facing != "front":
        person = replace(person, upper=replace(person.upper, pattern="plain", accent=None))
    keep = 0.97 - 0.62 * difficulty
    names, vague = set(), set()
    for name in NAMES:
        kept = happens(rng, keep + 0.15 if name in MAIN else keep)
        blurred = happens(rng, 0.5 * difficulty**1.5)
        if name in visible and kept:
            names.add(name)
            if blurred:
                vague.add(name)
    garments = [name for name in MAIN if name in visible]
    fallback = pick(rng, garments)
    if not names.intersection(garments):
        names.add(fallback)
    if "upper" not in names:
        names.discard("inner")
    mentions_movement = happens(rng, 0.4)
    return Facts(
        person,
        frozenset(names),
        frozenset(vague & names),
        shot.walking,
        shot.facing if mentions_movement else None,
    )
