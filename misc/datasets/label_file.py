"""A text file that labels pictures: a line for each, its name first and its number last."""

from collections.abc import Iterator
from pathlib import Path

from errors import InputError


def read_labels(file: Path) -> Iterator[tuple[str, str, int]]:
    """Where a line stands (for a message), the name and the number on it; blank lines are none.

    Raises:
        InputError: if the file cannot be read, or a line is no such line.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read ({error}); unpack the dataset anew") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{file}, line {number}"
        try:
            name, *_, label = line.split()
            yield place, name, int(label)
        except ValueError:
            raise InputError(
                f"{place}: {line!r} does not begin with a picture's name and end with a number; "
                "mend the line, or take it out"
            ) from None
