"""Attributes of a person, the same in all images of an identity."""

from dataclasses import dataclass, replace
from typing import Any

from numpy.random import Generator

from misc.synthetic.pedestrians.chance import (
    Stream,
    around,
    generator,
    happens,
    pick,
    pick_weighted,
)
from misc.synthetic.pedestrians.palette import CLOTH, HAIR, RGB, Colour, complexion, dye

FAMILY_SIZE = 4


@dataclass(frozen=True)
class Item:
    """A garment or carried thing; `accent` is the second colour of a pattern, if it has one."""

    kind: str
    colour: Colour
    pattern: str = "plain"
    accent: Colour | None = None


@dataclass(frozen=True)
class Person:
    """An identity; `lower` is None with a dress, `inner` is the shirt under an open jacket."""

    gender: str
    build: str
    girth: float
    skin: RGB
    hair: Item
    hat: Item | None
    eyewear: Item | None
    scarf: Item | None
    upper: Item
    inner: Item | None
    lower: Item | None
    shoes: Item
    bag: Item | None
    carried: Item | None


GIRTH = {"slim": 0.88, "average": 1.0, "heavy": 1.18}
BUILDS = {"slim": 2.0, "average": 5.0, "heavy": 2.0}
HAIR_KINDS = {
    "man": {"short": 7.0, "medium": 1.5, "bald": 1.5},
    "woman": {"long": 4.0, "medium": 2.5, "ponytail": 2.0, "bun": 1.5, "short": 0.7},
}
HAIR_COLOURS = {"black": 4.0, "brown": 3.0, "blonde": 2.0, "red": 1.0, "grey": 1.2}
HATS = {"none": 6.0, "cap": 2.0, "beanie": 1.3, "sun hat": 1.0}
EYEWEAR = {"none": 6.0, "glasses": 1.5, "sunglasses": 1.2}
UPPERS: dict[str, dict[str, float]] = {
    "man": {
        "t-shirt": 4,
        "shirt": 3,
        "sweater": 2,
        "hoodie": 2,
        "jacket": 3,
        "coat": 1.5,
        "tank top": 0.7,
    },
    "woman": {
        "t-shirt": 3,
        "shirt": 2,
        "sweater": 2,
        "hoodie": 1,
        "jacket": 2,
        "coat": 2,
        "tank top": 1,
        "dress": 3,
    },
}
OPEN_UPPERS = ("jacket", "coat")
PATTERNS: dict[str, dict[str, float]] = {
    "t-shirt": {"plain": 5, "striped": 2.5, "print": 2, "dotted": 0.7},
    "shirt": {"plain": 4, "checked": 3, "striped": 1.5},
    "sweater": {"plain": 4, "striped": 2.5, "dotted": 0.8},
    "hoodie": {"plain": 4, "print": 2},
    "dress": {"plain": 4, "dotted": 2, "striped": 1.2, "checked": 1},
    "skirt": {"plain": 5, "checked": 1.5, "dotted": 1},
}
LOWERS = {
    "man": {"trousers": 4.0, "jeans": 4.0, "shorts": 2.5},
    "woman": {
        "trousers": 2.5,
        "jeans": 3.0,
        "leggings": 1.5,
        "shorts": 1.5,
        "skirt": 2.5,
        "long skirt": 1.2,
    },
}
LOWER_COLOURS = {
    "trousers": ("black", "grey", "beige", "brown", "navy", "white", "green"),
    "jeans": ("blue", "light blue", "navy", "black"),
    "leggings": ("black", "grey", "navy", "purple"),
    "shorts": ("black", "beige", "blue", "white", "red", "grey", "green"),
    "skirt": tuple(CLOTH),
    "long skirt": tuple(CLOTH),
}
SHOES = {
    "man": {"sneakers": 5.0, "leather shoes": 2.0, "boots": 1.5, "sandals": 0.7},
    "woman": {"sneakers": 4.0, "boots": 2.0, "sandals": 1.2, "flats": 1.8},
}
SHOE_COLOURS = {
    "sneakers": ("white", "black", "red", "blue", "grey", "green", "yellow"),
    "leather shoes": ("black", "brown"),
    "boots": ("black", "brown", "beige"),
    "sandals": ("brown", "black", "white"),
    "flats": ("black", "red", "pink", "beige", "white"),
}
BAGS = {
    "man": {"none": 4.5, "backpack": 3.0, "shoulder bag": 2.0, "handbag": 0.3},
    "woman": {"none": 4.0, "backpack": 1.8, "shoulder bag": 2.0, "handbag": 2.5},
}
CARRIED = {
    "none": 9.0,
    "phone": 1.0,
    "bottle": 1.0,
    "book": 1.0,
    "cup": 1.0,
    "flowers": 1.0,
    "umbrella": 1.5,
    "suitcase": 1.2,
    "shopping bag": 1.5,
}
CARRIED_COLOURS = {
    "phone": ("black", "white"),
    "bottle": ("blue", "green", "light blue"),
    "book": ("red", "blue", "green", "yellow"),
    "cup": ("white", "brown"),
    "flowers": ("red", "yellow", "pink", "white"),
}
# Parts in which look-alikes may differ; `inner` changes with `upper`.
CHANGEABLE = ("hair", "hat", "scarf", "upper", "lower", "shoes", "bag", "carried")


def draw_person(rng: Generator, gender: str | None = None) -> Person:
    """A person with independent random attributes."""
    gender = gender or pick(rng, ("man", "woman"))
    build = pick_weighted(rng, BUILDS)
    upper, inner = _draw_upper(rng, gender)
    return Person(
        gender=gender,
        build=build,
        girth=GIRTH[build] * (1.0 + around(rng, 0.03)),
        skin=complexion(rng),
        hair=Item(
            pick_weighted(rng, HAIR_KINDS[gender]),
            dye(rng, pick_weighted(rng, HAIR_COLOURS), HAIR, 6),
        ),
        hat=_draw_optional(rng, HATS),
        eyewear=_draw_optional(rng, EYEWEAR, {"glasses": ("black",), "sunglasses": ("black",)}),
        scarf=_draw_optional(rng, {"none": 6.0, "scarf": 1.0}),
        upper=upper,
        inner=inner,
        lower=None if upper.kind == "dress" else _draw_lower(rng, gender),
        shoes=_draw_coloured(rng, pick_weighted(rng, SHOES[gender]), SHOE_COLOURS),
        bag=_draw_optional(rng, BAGS[gender]),
        carried=_draw_optional(rng, CARRIED, CARRIED_COLOURS),
    )


def draw_identity(seed: int, identity: int, difficulty: float) -> Person:
    """The person with this number, either independent or one of a family of look-alikes.

    Args:
        difficulty: at 0 all people are independent; towards 1 nearly all have look-alikes, which
            differ in fewer parts.
    """
    rng = generator(seed, Stream.IDENTITY, identity)
    if not happens(rng, 0.8 * difficulty):
        return draw_person(rng)
    ancestor = draw_person(generator(seed, Stream.FAMILY, identity // FAMILY_SIZE))
    return look_alike(ancestor, rng, changes=round(5 - 3 * difficulty))


def look_alike(person: Person, rng: Generator, changes: int) -> Person:
    """A person with a different face, and with `changes` different parts of the outfit."""
    other = draw_person(rng, person.gender)
    parts = [part for part in CHANGEABLE if differs(person, other, part)]
    changed: dict[str, Any] = {
        "skin": other.skin,
        "eyewear": other.eyewear,
        "girth": other.girth,
        "build": other.build,
    }
    for part in (str(name) for name in rng.permutation(parts)[:changes]):
        changed[part] = getattr(other, part)
        if part == "upper":
            changed["inner"] = other.inner
    return replace(person, **changed)


def differs(person: Person, other: Person, part: str) -> bool:
    """Whether the other person's part is different, and goes with the rest of the outfit."""
    mine, theirs = getattr(person, part), getattr(other, part)
    if part in ("upper", "lower") and (person.lower is None) != (other.lower is None):
        return False
    if mine is None or theirs is None:
        return mine is not theirs
    return (mine.kind, mine.colour.name) != (theirs.kind, theirs.colour.name)


def _draw_upper(rng: Generator, gender: str) -> tuple[Item, Item | None]:
    upper = _draw_patterned(rng, pick_weighted(rng, UPPERS[gender]), tuple(CLOTH))
    if upper.kind not in OPEN_UPPERS:
        return upper, None
    return upper, Item("t-shirt", dye(rng, _other_colour(rng, upper.colour.name)))


def _draw_lower(rng: Generator, gender: str) -> Item:
    kind = pick_weighted(rng, LOWERS[gender])
    return _draw_patterned(rng, kind, LOWER_COLOURS[kind])


def _draw_patterned(rng: Generator, kind: str, colours: tuple[str, ...]) -> Item:
    colour = dye(rng, pick(rng, colours))
    pattern = pick_weighted(rng, PATTERNS.get(kind, {"plain": 1.0}))
    accent = None if pattern == "plain" else dye(rng, _other_colour(rng, colour.name))
    return Item(kind, colour, pattern, accent)


def _draw_optional(
    rng: Generator, weights: dict[str, float], colours: dict[str, tuple[str, ...]] | None = None
) -> Item | None:
    kind = pick_weighted(rng, weights)
    return None if kind == "none" else _draw_coloured(rng, kind, colours or {})


def _draw_coloured(rng: Generator, kind: str, colours: dict[str, tuple[str, ...]]) -> Item:
    return Item(kind, dye(rng, pick(rng, colours.get(kind, tuple(CLOTH)))))


def _other_colour(rng: Generator, name: str) -> str:
    """A colour that contrasts with the named one."""
    dark = name in ("navy", "brown", "black", "purple", "green", "blue", "red")
    choices = (
        ("white", "yellow", "light blue", "pink", "beige")
        if dark
        else ("black", "navy", "red", "blue", "green")
    )
    return pick(rng, tuple(choice for choice in choices if choice != name))
