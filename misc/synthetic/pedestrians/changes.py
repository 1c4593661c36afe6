"""Changes of a person's outfit, and the words that ask for them."""

import re
from dataclasses import dataclass, replace

from numpy.random import Generator

from misc.synthetic.pedestrians.attributes import (
    OPEN_UPPERS,
    Item,
    Person,
    differs,
    draw_person,
    look_alike,
)
from misc.synthetic.pedestrians.captions import name_item
from misc.synthetic.pedestrians.chance import happens, pick
from misc.synthetic.pedestrians.english import ENGLISH
from misc.synthetic.pedestrians.shots import Shot, visible_attributes

PARTS = ("hat", "scarf", "upper", "lower", "bag", "carried")
CARRIED = ("bag", "carried")
# By the kind of the change; {new} is the item with its article, {old} with `the`.
TEMPLATES = {
    "added": (
        "with {new}",
        "now {doing} {new}",
        "the same person {doing} {new}",
        "this person, but also {doing} {new}",
        "add {new}",
    ),
    "removed": (
        "without {old}",
        "the same person without {old}",
        "this person, but not {doing} {old}",
        "no longer {doing} {old}",
        "take away {old}",
    ),
    "replaced": (
        "with {new} instead of {old}",
        "{doing} {new} instead",
        "the same person, but {doing} {new}",
        "replace {old} by {new}",
        "with {new} in place of {old}",
    ),
    "recoloured": (
        "with {old} in {colour}",
        "{doing} {new} instead",
        "the same person, but {doing} {new}",
        "change the colour of {old} to {colour}",
        "this person, but with {old} in {colour}",
    ),
}


@dataclass(frozen=True)
class Change:
    """A change of one part of an outfit.

    Args:
        before, after: None: nothing that is taken off or put down, or put on or picked up.
        person: the person after it.
    """

    part: str
    before: Item | None
    after: Item | None
    person: Person

    @property
    def kind(self) -> str:
        if self.before is None or self.after is None:
            return "added" if self.before is None else "removed"
        recoloured = replace(self.before, colour=self.after.colour) == self.after
        return "recoloured" if recoloured else "replaced"

    def is_visible(self, original: Person, shot: Shot) -> bool:
        """Whether a picture tells if the change was made, whoever of the two it shows."""
        worn = [p for p in (original, self.person) if getattr(p, self.part) is not None]
        return all(self.part in visible_attributes(person, shot) for person in worn)


def draw_changes(person: Person, rng: Generator, count: int) -> list[Change]:
    """Changes of different parts of a person's outfit, each of this person as given."""
    parts: list[str] = []
    while len(parts) < count:
        other = draw_person(rng, person.gender)
        parts = [part for part in PARTS if differs(person, other, part)]
        if person.upper.kind == "coat" and "lower" in parts:  # it may be hidden
            parts.remove("lower")
    chosen = [parts[int(number)] for number in rng.permutation(len(parts))[:count]]
    return [_draw_change(person, other, part, rng) for part in chosen]


def _draw_change(person: Person, other: Person, part: str, rng: Generator) -> Change:
    """A change of a part towards the other person's; a coat may go on or off, a colour change."""
    before, after = getattr(person, part), getattr(other, part)
    is_simple = happens(rng, 0.5)
    if part == "upper" and person.inner is not None and is_simple:
        return Change(part, before, None, replace(person, upper=person.inner, inner=None))
    if part == "upper" and before.kind == "t-shirt" and after.kind in OPEN_UPPERS:
        return Change(part, None, after, replace(person, upper=after, inner=before))
    if is_simple and before and after and before.pattern == "plain":
        recoloured = replace(before, colour=after.colour)
        if recoloured.colour.name != before.colour.name:
            return Change(part, before, recoloured, replace(person, **{part: recoloured}))
    return Change(part, before, after, _wearing(person, part, other))


def draw_stranger(change: Change, rng: Generator, changes: int) -> Person:
    """Somebody else with the same change, and with other parts of the outfit different.

    Args:
        changes: number of parts that differ; one less if the changed part was drawn.
    """
    return _wearing(look_alike(change.person, rng, changes), change.part, change.person)


def describe_change(change: Change, rng: Generator) -> str:
    """An English phrase that asks for the change of a person who is seen in a picture."""
    kind = change.kind
    words = {"doing": "carrying" if change.part in CARRIED else "wearing"}
    if change.after is not None:
        words["new"] = name_item(change.after, change.part, False, ENGLISH, rng)
        words["colour"] = pick(rng, ENGLISH.colours[change.after.colour.name])
    if change.before is not None:
        full = name_item(change.before, change.part, False, ENGLISH, rng)
        brief = kind == "recoloured" or happens(rng, 0.5)
        words["old"] = f"the {change.before.kind if brief else re.sub('^an? ', '', full)}"
    return ENGLISH.finish(pick(rng, TEMPLATES[kind]).format_map(words))


def _wearing(person: Person, part: str, other: Person) -> Person:
    """The person with a part of the other's outfit."""
    parts = ("upper", "inner") if part == "upper" else (part,)
    return replace(person, **{name: getattr(other, name) for name in parts})
