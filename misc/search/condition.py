"""A condition in SQL, as a user writes it."""

import re
from itertools import accumulate

from errors import InputError


def unquoted(condition: str) -> str:
    """A condition with every quoted text emptied."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "''", condition)


def bracketed(condition: str) -> str:
    """A condition in brackets, so that all of it counts: Lance ignores what follows a whole one.

    Raises:
        InputError: it would end before its last bracket.
    """
    bare = unquoted(condition)
    depths = [*accumulate((letter == "(") - (letter == ")") for letter in bare)]
    fault = None
    if re.search(r";|--|/\*", bare):
        fault = "has ; or a comment: give one condition, and put such text in quotes"
    elif any(depth < 0 for depth in depths) or [0, *depths][-1] != 0:
        fault = "has a bracket that is not closed or not opened"
    if fault:
        raise InputError(f"the condition {condition!r} {fault}")
    return f"({condition})"
