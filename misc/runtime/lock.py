"""The lock of a run's folder, which one process at a time may write."""

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from errors import InputError

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)
LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made when missing and removed if it ends up empty.

    The system frees the lock when the process ends, however it ends; the processes that it forked
    do not hold it. The file names the holder.

    Raises:
        InputError: another process holds it, or the folder cannot be written.
    """
    if sys.platform == "win32":
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _acquire(folder)
    except OSError as error:
        raise InputError(
            f"--output {folder} cannot be written ({error.strerror}); choose another folder"
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink()
        os.close(handle)
        with suppress(OSError):  # it holds files, or it is a mount point or a link
            folder.rmdir()


def _acquire(folder: Path) -> int:
    """Lock the folder's file, and write into it who holds it."""
    file = folder / LOCK
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        holder = os.pread(handle, 1000, 0).decode(errors="replace").strip()
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(handle)
            raise InputError(
                f"{folder} is in use by another run ({holder or 'just starting'}): wait until it "
                "has ended, or give another --output"
            ) from None
        except OSError as error:
            log.warning("%s is not locked, its file system has no locks (%s)", folder, error)
        with suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == file.stat().st_ino:
                break
        os.close(handle)  # the holder before has removed the file meanwhile
    if holder:
        log.warning("%s was in use by %s, which has not ended in order: taken over", folder, holder)
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return handle
