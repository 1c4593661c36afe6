"""The keys of a configuration, and what each may hold, drawn from the sections."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from functools import cache
from typing import Literal, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo

from misc.settings.base import LONGEST_WORD, PartOf, Section
from misc.settings.sections import Config

ALIKE = 0.5  # the least likeness of a key that is suggested


class Content(NamedTuple):
    """The content of a key.

    Args:
        kind: `section` has the keys of `section` below it, `entries` is a list of such sections,
            `mapping` has keys of any name, `value` has none.
        section: the class of the section or of the entries.
        optional: whether null may stand in the place of a section.
    """

    kind: Literal["value", "section", "entries", "mapping"]
    section: type[Section] = Section
    optional: bool = False


def content_of(field: FieldInfo) -> Content:
    """The content of the key that a field declares."""
    for annotation in field.metadata:
        if isinstance(annotation, PartOf):
            return Content("section", annotation.section)
    origin, arguments = get_origin(field.annotation), get_args(field.annotation)
    for kind in (field.annotation, *arguments):
        if isinstance(kind, type) and issubclass(kind, Section):
            if origin is tuple:
                return Content("entries", kind)
            return Content("section", kind, optional=type(None) in arguments)
    return Content("mapping" if origin is dict else "value")


def content_at(location: Sequence[str | int]) -> Content:
    """The content of the key at a location, as in ("stages", 0, "schedule", "lr")."""
    content = Content("section", Config)
    for key in location:
        if key in content.section.model_fields:
            content = content_of(content.section.model_fields[str(key)])
        elif content.kind == "entries":
            content = Content("section", content.section)
        else:  # in a mapping or a list
            return Content("value")
    return content


@cache
def known_keys(section: type[Section] = Config) -> tuple[str, ...]:
    """All keys of a section, those below others with dots; entries of lists have no number."""

    def walk() -> Iterator[str]:
        for name, field in section.model_fields.items():
            yield name
            content = content_of(field)
            if content.kind in ("section", "entries"):
                yield from (f"{name}.{key}" for key in known_keys(content.section))

    return tuple(walk())


def nearest_key(key: str) -> str | None:
    """The known key most like `key`, one of the same last word before others; None: none is."""
    key = key[:LONGEST_WORD]
    last = key.split(".")[-1]

    def likeness(known: str) -> tuple[bool, float]:
        known_last = known.split(".")[-1]
        last_words = SequenceMatcher(None, last, known_last).ratio()
        return last == known_last, SequenceMatcher(None, key, known).ratio() + last_words

    nearest = max(known_keys(), key=likeness)
    return nearest if likeness(nearest) >= (False, 2 * ALIKE) else None
