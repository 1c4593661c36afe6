"""The folder that an export writes, whole or not at all."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import InputError
from misc.runtime.atomic import sync_folder, sync_tree

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOTDIR)


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """The folder to write to within the block; it is renamed to `output` when the block ends.

    If the block fails, the folder is removed. The files reach the disk before the name does, so
    that a loss of power is survived as a kill is.

    Raises:
        InputError: `output` exists, or cannot be written.
    """
    if output.exists():
        raise InputError(f"{output} exists: name another folder, or delete this one")
    partial = output.with_name(output.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of an export that was killed
        partial.mkdir(parents=True)
        yield partial
        sync_tree(partial)
        partial.rename(output)
        sync_folder(output.parent)
    except OSError as error:
        if error.errno not in UNWRITABLE:  # a file could not be read
            raise
        reason = error.strerror or error
        raise InputError(f"cannot write {output} ({reason}): name another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
