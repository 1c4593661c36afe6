"""Commits to a table, of which none is kept with a data file that is cut short."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lancedb.table import Table

END = b"LANC"  # of every data file of Lance
CUT = OSError(errno.ENOSPC, "the disk has taken only a part of a file")


@contextmanager
def commit(table: Table, folder: Path | None) -> Iterator[None]:
    """Undo a commit if a data file of it is cut short.

    Where a disk has no room for the last bytes of a file, Lance commits the file without them.

    Args:
        folder: of the table; None: not on a disk of this machine.

    Raises:
        OSError: the commit is undone.
    """
    before, version = _data_files(folder), table.version
    yield
    if any(map(_is_cut, _data_files(folder) - before)):
        table.restore(version)
        raise CUT


def check_files(folder: Path | None) -> None:
    """Check all data files of a new table.

    Raises:
        OSError: one is cut short.
    """
    if any(map(_is_cut, _data_files(folder))):
        raise CUT


def _data_files(folder: Path | None) -> set[Path]:
    return {*folder.glob("data/*.lance")} if folder else set()


def _is_cut(file: Path) -> bool:
    size = file.stat().st_size
    with file.open("rb") as stream:
        stream.seek(max(0, size - len(END)), os.SEEK_SET)
        return stream.read() != END
