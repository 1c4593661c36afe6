"""Errors of LanceDB in the user's words."""

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from errors import InputError
from misc.search.condition import bracketed

# Of a disk, or a quota, that is full.
FULL = re.compile(rf"\b[Ee]rr(or|no) ({errno.ENOSPC}|{errno.EDQUOT}|{errno.EFBIG})\b")


@contextmanager
def condition(where: str | None, columns: Sequence[str]) -> Iterator[str | None]:
    """A condition as Lance reads the whole of it; turn what Lance says of it into the user's error.

    Other errors pass.
    """
    whole = None if where is None else bracketed(where)
    try:
        yield whole
    except (RuntimeError, ValueError) as error:
        # That of a value, such as a division by zero, is one of execution.
        if where is None or not ("Invalid" in str(error) or "filter expression" in str(error)):
            raise
        raise InputError(_explain(where, columns, str(error))) from None


@contextmanager
def faults(location: str) -> Iterator[None]:
    """Turn faults of the disk, the network and Lance into the user's errors."""
    try:
        yield
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        reason = re.sub(r"lance error: |, /\S+\.rs:\d+:\d+", "", str(error)).partition("\n")[0]
        if FULL.search(reason):
            raise InputError(
                f"the index {location} cannot be written ({reason}): make room, and run the same "
                "command again; what it held before is whole"
            ) from error
        raise InputError(
            f"the index {location} cannot be read or written ({reason}); if a file of it is "
            "damaged, make it anew"
        ) from error


def _explain(where: str, columns: Sequence[str], reason: str) -> str:
    """The message about a condition that Lance refuses."""
    if field := re.search(r"No field named (\S+)\.", reason):
        why = f"there is no column {field[1]}"
    elif literal := re.search(r"Received literal \w+\((.*?)\) and could not convert", reason):
        why = f"{literal[1]} is not what its column holds"
    elif syntax := re.search(r"sql parser error: (.*?)\)?(, /|$)", reason):
        why = syntax[1]
    else:
        why = re.sub(r"^(Invalid input, |lance error: )|, /\S+\.rs:\d+:\d+", "", reason)
        why = why.partition("\n")[0]
    known = ", ".join(columns)
    return (
        f"--where {where!r} cannot be understood ({why}); the columns are {known}, as in "
        "\"camera = 3 and time > '2026-01-01 08:00'\""
    )
