"""Files of JSON lines: a record in each line."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errors import InputError
from misc.datasets.annotation_file import open_annotation_file, parse_json
from misc.datasets.lazy import LazySequence

SUFFIX = ".jsonl"
BLOCK = 2**22  # bytes that are read at once
SHORTEST = len("{}\n")
LONGEST = 2**20
NEWLINE = ord("\n")


class JsonLines(LazySequence[tuple[str, Mapping[str, Any]]]):
    """The location and the fields of each record, read and parsed when they are asked for.

    A record takes 8 bytes of memory, the place of its line. The file is opened for each record:
    processes that were forked or spawned share no position in it.

    Args:
        file: read once, for the places of the lines and a hash.

    Raises:
        InputError: the file cannot be read, has no lines, or one that is empty or longer than a
            record can be.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        bounds, self.hash = _scan(file)
        lengths = np.diff(bounds)
        last = np.flatnonzero(lengths >= SHORTEST)[-1:]  # empty lines at the end are no records
        if not len(last):
            raise InputError(f"data.annotation_file: {file} lists no images")
        self.starts, lengths = bounds[: last[0] + 1], lengths[: last[0] + 1]
        for fault, wrong in (
            ("is empty; remove it", lengths < SHORTEST),
            (f"has more than {LONGEST:,} bytes; shorten it", lengths > LONGEST),
        ):
            if wrong.any():
                raise InputError(f"{self.location(int(wrong.argmax()))} {fault}")

    def __len__(self) -> int:
        return len(self.starts)

    def location(self, index: int) -> str:
        """File and line, for messages."""
        return f"{self.file}, line {index + 1}"

    def item(self, index: int) -> tuple[str, Mapping[str, Any]]:
        """A record.

        Raises:
            InputError: the line is no record; the message has its number.
        """
        location = self.location(index)
        with open_annotation_file(self.file) as stream:
            stream.seek(int(self.starts[index]))
            line = stream.readline(LONGEST + 1)
        try:
            fields = parse_json(line)
        except ValueError as error:
            raise InputError(f"{location}: not valid JSON ({error}); correct it") from None
        if not isinstance(fields, dict):
            raise InputError(f'{location}: not a record, such as {{"file_path": ...}}; correct it')
        return location, fields


def _scan(file: Path) -> tuple[NDArray[np.int64], str]:
    """The start of each line and the end of the file, (L + 1,), and a hash of the content."""
    digest, size = hashlib.sha256(), 0
    starts = [np.zeros(1, np.int64)]
    with open_annotation_file(file) as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
            newlines = np.flatnonzero(np.frombuffer(block, np.uint8) == NEWLINE)
            starts.append(size + 1 + newlines)
            size += len(block)
    bounds = np.concatenate(starts)
    return (bounds if bounds[-1] == size else np.append(bounds, size)), digest.hexdigest()
