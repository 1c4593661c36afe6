"""A caption grammar for any language, and the tables that a language has to provide."""

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from numpy.random import Generator

from misc.synthetic.pedestrians.attributes import Item
from misc.synthetic.pedestrians.chance import happens, pick
from misc.synthetic.pedestrians.facts import CARRIED, EXTRAS, MAIN, Facts
from misc.synthetic.pedestrians.palette import tone

Words = tuple[str, ...]
Frame = tuple[str, ...]

# The slots for lists, and the attributes that they list.
LISTS: dict[str, Words] = {
    "wear": (*MAIN, *EXTRAS),
    "main": MAIN,
    "extras": EXTRAS,
    "have": ("hair",),
    "carry": CARRIED,
}


@dataclass(frozen=True)
class Language:
    """Tables of a language for the caption grammar; tuples of words are alternatives.

    A noun has one `{}` for its colour, and an article if the language has one: `a {} shirt`. A
    pattern is a pair: the text for that `{}`, and the text after the noun. A place is the text
    around an item, such as its position on the body, or the verb where a language has one for each
    way of wearing and carrying. A frame is a caption in pieces; a piece with a slot that has no
    facts is dropped, and a frame is skipped if that would be its first piece.

    The slots of a frame are `person` and `they`; `wear` (all garments), or `main` and `extras`;
    `have` (hair); `carry`; `acts` (the movement, or a neutral phrase) and `moves` (only if the
    movement is mentioned); and the names of `verbs`. `between` separates descriptions.
    """

    people: Mapping[str, Words]
    again: Mapping[str, Words]
    builds: Mapping[str, Words]
    vague_builds: Mapping[str, Words]
    colours: Mapping[str, Words]
    hair_colours: Mapping[str, Words]
    tones: Mapping[str, Words]
    nouns: Mapping[str, Words]
    vague_nouns: Mapping[str, Words]
    patterns: Mapping[str, tuple[tuple[str, str], ...]]
    vague_pattern: tuple[tuple[str, str], ...]
    layers: Words
    places: Mapping[str, Words]
    verbs: Mapping[str, Words]
    moves: Mapping[tuple[bool, str], Words]
    neutral: Words
    frames: tuple[Frame, ...]
    join: Callable[[list[str]], str]
    finish: Callable[[str], str]
    between: str = " "


def describe(facts: Facts, language: Language, rng: Generator) -> tuple[str, str]:
    """A caption and its back-translation: two wordings of the same facts, in different frames."""
    first, second = (int(number) for number in rng.permutation(_fitting(facts, language))[:2])
    return _write(facts, language, first, rng), _write(facts, language, second, rng)


def _fitting(facts: Facts, language: Language) -> list[int]:
    missing = _missing_slots(facts)
    return [n for n, frame in enumerate(language.frames) if not _slots(frame[0]) & missing]


def _missing_slots(facts: Facts) -> set[str]:
    missing = {slot for slot, names in LISTS.items() if not facts.among(names)}
    return missing if facts.facing is not None else missing | {"moves"}


def _slots(piece: str) -> set[str]:
    return {name.lower() for _, name, _, _ in string.Formatter().parse(piece) if name}


def _write(facts: Facts, language: Language, frame: int, rng: Generator) -> str:
    missing = _missing_slots(facts)
    pieces = [piece for piece in language.frames[frame] if not _slots(piece) & missing]
    return language.finish("".join(_fill(piece, facts, language, rng) for piece in pieces))


def _fill(piece: str, facts: Facts, language: Language, rng: Generator) -> str:
    return piece.format_map(
        {slot: _content(slot, facts, language, rng) for slot in sorted(_slots(piece))}
    )


def _content(slot: str, facts: Facts, language: Language, rng: Generator) -> str:
    """The text for one slot of a frame."""
    who = facts.person.gender if "gender" in facts.names - facts.vague else "person"
    match slot:
        case "person":
            return pick(rng, language.people[who]).format(_build(facts, language, rng))
        case "they":
            return pick(rng, language.again[who])
        case "acts" | "moves":
            if facts.facing is None:
                return pick(rng, language.neutral)
            return pick(rng, language.moves[facts.walking, facts.facing])
    if slot not in LISTS:
        return pick(rng, language.verbs[slot])
    names = facts.among(LISTS[slot])
    if happens(rng, 0.4):
        names = [names[int(index)] for index in rng.permutation(len(names))]
    return language.join([_mention(name, facts, language, rng) for name in names])


def _build(facts: Facts, language: Language, rng: Generator) -> str:
    if "build" not in facts.names:
        return ""
    builds = language.vague_builds if "build" in facts.vague else language.builds
    return pick(rng, builds[facts.person.build])


def _mention(name: str, facts: Facts, language: Language, rng: Generator) -> str:
    item = facts.item(name)
    words = name_item(item, name, name in facts.vague, language, rng)
    if name == "upper" and "inner" in facts.names:
        inner = name_item(facts.item("inner"), "inner", "inner" in facts.vague, language, rng)
        return pick(rng, language.layers).format(upper=words, inner=inner)
    return pick(rng, language.places.get(item.kind, ("{}",))).format(words)


def name_item(item: Item, name: str, vague: bool, language: Language, rng: Generator) -> str:
    """The item with its colour and pattern, or with a vague description of them."""
    colours = language.hair_colours if name == "hair" else language.colours
    if vague:
        patterned = item.pattern != "plain"
        before, after = pick(
            rng, language.vague_pattern if patterned else language.patterns["plain"]
        )
        colour, accent = pick(rng, language.tones[tone(item.colour.name)]), ""
    else:
        before, after = pick(rng, language.patterns[item.pattern])
        colour = pick(rng, colours[item.colour.name])
        accent = pick(rng, colours[item.accent.name]) if item.accent else ""
    noun = pick(rng, (language.vague_nouns if vague else language.nouns)[item.kind])
    words = noun.format(before.format(colour=colour, accent=accent))
    return words + after.format(colour=colour, accent=accent)
