"""The form of the page."""

import re
from typing import NamedTuple

from PIL import Image

from errors import InputError
from misc.search.condition import bracketed, unquoted
from misc.search.path_fields import parse_time
from misc.search.query import Query
from misc.search.table import quote

DAY_BEGINS, DAY_ENDS = "00:00:00", "23:59:59.999999"
LONGEST = 1000  # characters of a condition
# Before a bracket. Others could fill the memory, as repeat('x', 1000000000) does for each row.
CALLED = {
    *("and", "or", "not", "in", "like", "between", "lower", "upper", "abs", "length", "substr"),
    *("starts_with", "ends_with", "contains", "regexp_like", "regexp_match", "coalesce", "cast"),
}


class Form(NamedTuple):
    """A form as the user has filled it in; the browser sends None for fields left empty.

    Args:
        text: a description, or nothing.
        image: a picture, or none.
        weight: of the words beside a picture.
        top: hits at most.
        cameras: their numbers; none: all.
        start, end: times between which a picture was taken, or nothing.
        condition: a condition in SQL, or nothing.
        per_track: only the best hit of each track.
        rerank: in the order of k-reciprocal re-ranking.
        threshold: of a match.
    """

    text: str | None
    image: Image.Image | None
    weight: float
    top: int
    cameras: list[int]
    start: str | None
    end: str | None
    condition: str | None
    per_track: bool
    rerank: bool
    threshold: float

    def query(self) -> Query:
        """The person to find.

        Raises:
            InputError: there are neither words nor a picture.
        """
        return Query(_words(self.text), self.image, self.weight)

    def where(self) -> str | None:
        """All conditions as one in SQL; None if there are none.

        Raises:
            InputError: a time cannot be understood, or a condition is not allowed.
        """
        conditions = []
        if self.cameras:
            conditions.append(f"camera IN ({', '.join(str(int(one)) for one in self.cameras)})")
        if start := _words(self.start):
            conditions.append(f"time >= {quote(_time(start, DAY_BEGINS))}")
        if end := _words(self.end):
            conditions.append(f"time <= {quote(_time(end, DAY_ENDS))}")
        if condition := _words(self.condition):
            _refuse_costs(condition)
            whole = bracketed(condition)
            conditions.append(whole if conditions else condition)
        return " AND ".join(conditions) or None


def _words(text: str | None) -> str | None:
    """A text without blanks around it; None if nothing is left."""
    return (text or "").strip() or None


def _refuse_costs(condition: str) -> None:
    """Refuse a condition that could cost too much."""
    called = {name.lower() for name in re.findall(r"(\w+|''|`)\s*\(", unquoted(condition))} - CALLED
    if len(condition) > LONGEST:
        raise InputError(f"the condition is longer than {LONGEST} characters")
    if called:
        allowed = ", ".join(sorted(CALLED))
        raise InputError(f"the condition calls {min(called)[:40]}, which is not among {allowed}")


def _time(text: str, rest: str) -> str:
    """A time as an index stores it.

    Args:
        rest: the time of a day that is given alone.
    """
    time = parse_time(text) or parse_time(f"{text} {rest}")
    if time is None:
        raise InputError(f"{text!r} is not a time; write it as 2026-01-31 08:00 or 2026-01-31")
    return time.isoformat(sep=" ")
