"""Label files: a line for each image, with its name first and a number last."""

from collections.abc import Iterator
from pathlib import Path

from errors import InputError


def read_labels(file: Path) -> Iterator[tuple[str, str, int]]:
    """Yield (location, name, number) for each line that is not blank.

    The location, file and line number, is for messages.

    Raises:
        InputError: the file cannot be read, or a line is malformed.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read ({error}); unpack the dataset again") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        location = f"{file}, line {number}"
        try:
            name, *_, label = line.split()
            yield location, name, int(label)
        except ValueError:
            raise InputError(
                f"{location}: expected an image name first and a number last, got {line!r}; fix or "
                "remove the line"
            ) from None
