"""Mistakes in a configuration, each in one sentence: source, key, value, expectation."""

import json
import re
from collections.abc import Mapping, Sequence

from pydantic_core import ErrorDetails

from misc.settings.base import shorten
from misc.settings.keys import Content, content_at, known_keys, nearest_key
from misc.settings.sections import Config

Location = tuple[str | int, ...]  # of a key, as in ("stages", 0, "schedule", "lr")

EXPECTED = {  # by the type of pydantic's error; its own words do for the others
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text (a number is text in quotes)",
    "string_too_short": "text that is not empty",
    "tuple_type": "a list in [ ]",
    "model_type": "a section of keys",
    "dict_type": "a section of keys",
    "too_short": "{min_length} or more values",
    "too_long": "at most {max_length} values",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
}


def spell(location: Location) -> str:
    """A key as a user writes it, as in `stages[0].schedule.lr`."""
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", ".".join(map(str, location)))


def wrong_value(problem: ErrorDetails) -> str:
    """The sentence for a value that pydantic refuses."""
    kind, key, context = problem["type"], spell(problem["loc"]), problem.get("ctx", {})
    if kind == "value_error":
        return f"{key}: {context['error']}"
    expected = EXPECTED.get(kind, problem["msg"].removeprefix("Input should be "))
    limits = {name: f"{x:g}" if isinstance(x, float) else x for name, x in context.items()}
    return f"{shorten(key)} is {quote(problem['input'])}, expected {expected.format(**limits)}"


def misfit(location: Location, content: Content, value: object) -> str | None:
    """The sentence for a value where keys belong, or keys where a value does; None otherwise."""
    key, (kind, _, optional) = spell(location), content
    if isinstance(value, Mapping):
        below = _descend(key, value)
        where = "" if below == key else f"{below}: "
        return f"{where}{key} takes a value and has no keys of its own" if kind == "value" else None
    if kind == "value" or (optional and value is None):
        return None
    if kind == "entries":
        is_list = isinstance(value, list)
        return None if is_list else f"{key} is {quote(value)}, expected a list in [ ]"
    return f"{key} is {quote(value)}, expected a section of keys"


def no_entry(location: Location, names: Sequence[str]) -> str:
    """The sentence for a change of an entry, by a name that none has or without keys."""
    parent = spell(location[:-1])
    return (
        f"{spell(location)}: expected a section of keys for an entry of {parent} by its name "
        f"({', '.join(names) or 'none'}), or a whole list"
    )


def unknown_key(location: Location, value: object) -> str:
    """The sentence for a key that does not exist, with the one that was probably meant."""
    *parent, name = map(str, location)
    key = _descend(spell(location), value)
    if spell(location) in known_keys():  # as one word with dots, which only a file can have
        *sections, last = spell(location).split(".")
        nested = ": {".join(sections) + f": {{{last}: ...{'}' * len(sections)}"
        return f"{key} is one word with dots, nest it in the file: {nested}"
    if parent and name in Config.model_fields and content_at([name]).kind != "value":
        return _misplaced(key, name, spell(location[:-1]), value)
    near = nearest_key(key)
    if near is not None:
        return f"there is no key {shorten(key)}, did you mean {near}?"
    section = content_at(location[:-1]).section
    owner = f"{spell(location[:-1])} has" if parent else "a recipe has"
    return f"there is no key {shorten(key)}: {owner} {', '.join(section.model_fields)}"


def _misplaced(key: str, section: str, parent: str, value: object) -> str:
    own, rest = f"{section} is a section of its own", _descend(section, value)
    if rest == section:  # several keys, or none
        return f"there is no section {key}: {own}, move it out of {parent}"
    known = rest if rest in known_keys() else nearest_key(rest) or section
    return f"there is no key {key}: {own}, write {known}"


def missing_keys(locations: Sequence[Location]) -> str:
    """The clause for keys that are not there."""
    keys = [spell(location) for location in locations]
    if len(keys) > 4:
        keys[3:] = [f"{len(keys) - 3} more keys"]
    *others, last = keys
    return f"{', '.join(others)} and {last} are missing" if others else f"{last} is missing"


def _descend(key: str, value: object) -> str:
    """The key at the end of a chain of sections of one key each."""
    while isinstance(value, Mapping) and len(value) == 1:
        ((name, value),) = value.items()
        key = f"{key}.{name}"
    return key


def quote(value: object) -> str:
    """A value as YAML has it, its middle left out if it is long."""
    return shorten(json.dumps(value, ensure_ascii=False))
