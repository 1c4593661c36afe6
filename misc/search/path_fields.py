"""Fields of a file that its path tells: the camera's number, and the time."""

import argparse
import re
from datetime import UTC, datetime
from pathlib import PurePath

from errors import InputError

# 2026-01-01 08:00:00, 2026-01-01T08-00-00, 20260101_080000.5; seconds may be left out.
_TIME = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)[ T_-]?(\d\d)[:-]?(\d\d)(?:[:-]?(\d\d)(?:\.(\d{1,6}))?)?"
)
_UNIX_TIME = re.compile(r"\d{10}(\.\d{1,6})?")


def add_path_fields(parser: argparse.ArgumentParser) -> None:
    """Declare `--camera` and `--time`."""
    where = "found in the path: the first group of a regular expression, or all that it matches"
    add = parser.add_argument
    add("--camera", type=pattern, metavar="REGEX", help=rf"camera number {where}: 'cam(\d+)'")
    known = f"time {where}: 20260101_080000, 2026-01-01T08:00:00, or a Unix timestamp (UTC)"
    add("--time", type=pattern, metavar="REGEX", help=known)


def pattern(word: str) -> re.Pattern[str]:
    """The type of an option that is a regular expression."""
    try:
        return re.compile(word)
    except re.error as error:
        raise argparse.ArgumentTypeError(
            f"{word!r} is not a regular expression ({error})"
        ) from error


def read_camera(pattern: re.Pattern[str] | None, path: PurePath) -> int | None:
    """The camera's number in a path; None without a pattern or a match.

    Raises:
        InputError: what the pattern finds is not a whole number, or too large.
    """
    found = _find(pattern, path)
    if found is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", found):  # an index has 64 bits for it
        raise InputError(
            f"--camera finds {found!r} in {path}, which is not a whole number of at most 18 "
            "digits; put the digits into a group"
        )
    return int(found)


def read_time(pattern: re.Pattern[str] | None, path: PurePath) -> str | None:
    """The time in a path as `YYYY-MM-DD HH:MM:SS[.ffffff]`; None without a pattern or a match.

    Raises:
        InputError: what the pattern finds is not a time.
    """
    found = _find(pattern, path)
    if found is None:
        return None
    time = parse_time(found)
    if time is None:
        raise InputError(
            f"--time finds {found!r} in {path}, which is not a time; write it as 20260101_080000, "
            "2026-01-01 08:00:00 or a Unix timestamp in seconds"
        )
    return time.isoformat(sep=" ")


def parse_time(text: str) -> datetime | None:
    """The time that a text says, without a time zone; a Unix timestamp is read as UTC."""
    try:
        if _UNIX_TIME.fullmatch(text):
            return datetime.fromtimestamp(float(text), UTC).replace(tzinfo=None)
        if match := _TIME.fullmatch(text):
            year, month, day, hour, minute, second, fraction = match.groups(default="0")
            date = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second))
            return date.replace(microsecond=int(fraction.ljust(6, "0")))
    except ValueError:  # a 13th month
        return None
    return None


def _find(pattern: re.Pattern[str] | None, path: PurePath) -> str | None:
    match = pattern.search(path.as_posix()) if pattern else None
    if match is None:
        return None
    found = match[1] if match.re.groups else match[0]
    return None if found is None else str(found)
