"""Atomic file writes: at any time there is the old file or the new one, never a part of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(file: Path) -> Iterator[Path]:
    """The path to write to within the block; it is renamed to `file` when the block ends.

    If the block fails, what it wrote is deleted and `file` stays as it was.
    """
    partial = file.with_name(file.name + ".partial")
    try:
        yield partial
        os.replace(partial, file)
    except BaseException:  # an interruption, too
        partial.unlink(missing_ok=True)
        raise
