"""Atomic file writes: at any time there is the old file or the new one, never a part of it."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(file: Path) -> Iterator[Path]:
    """The path to write to within the block; it is renamed to `file` when the block ends.

    If the block fails, what it wrote is deleted and `file` stays as it was. The content reaches the
    disk before the name does, and the name before this returns, so that a loss of power is survived
    as a kill is. A link is replaced, too, and the file that it points to stays as it was.

    Raises:
        OSError: `file` is a folder, a device or a pipe, whose name is not to become a file's.
    """
    if file.exists() and not file.is_file():
        raise OSError(errno.EINVAL, "Not a regular file", str(file))
    partial = file.with_name(file.name + ".partial")
    try:
        yield partial
        _sync(partial)
        os.replace(partial, file)
    except BaseException:  # an interruption, too
        partial.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def sync_tree(folder: Path) -> None:
    """Wait until all that lies in a folder is on the disk, by its name, too."""
    for path in folder.rglob("*"):
        if path.is_file():
            _sync(path)
        else:
            sync_folder(path)
    sync_folder(folder)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, if its file system can tell."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EACCES):  # of file systems that know no such
            raise
