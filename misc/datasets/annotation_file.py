"""The content of annotation files."""

import json
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from errors import InputError


@contextmanager
def open_annotation_file(file: Path) -> Iterator[BinaryIO]:
    """An annotation file, open for reading.

    Raises:
        InputError: it is missing, no ordinary file, or cannot be read.
    """
    try:
        if file.exists() and not file.is_file():
            raise InputError(f"data.annotation_file: {file} is a pipe or device; give a file")
        with file.open("rb") as stream:
            yield stream
    except FileNotFoundError:
        raise InputError(
            f"data.annotation_file: {file} does not exist; request it from the dataset's authors, "
            "or draw synthetic pedestrians in the same layout with `python -m misc.synthetic` "
            "(`make demo` draws its own)"
        ) from None
    except OSError as error:
        raise InputError(f"data.annotation_file: {file} cannot be read: {error.strerror}") from None


def read_annotation_file(file: Path) -> bytes:
    """The bytes of an annotation file.

    Raises:
        InputError: as `open_annotation_file` does.
    """
    with open_annotation_file(file) as stream:
        return stream.read()


def parse_json(content: bytes) -> object:
    """The value that JSON in UTF-8 stands for.

    Raises:
        ValueError: it is malformed, nested too deeply, or has a key twice in a record; the message
            is a short reason.
    """
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:  # an integer of 5,000 digits is a ValueError
        raise ValueError(str(error).partition(";")[0]) from None


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"a record has {reprlib.repr(twice)} twice")
    return fields
