"""The lock of an index, which one process at a time may write."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import InputError
from misc.search.location import LOCK, as_location, is_local

if sys.platform != "win32":
    import fcntl


@contextmanager
def writing(location: str) -> Iterator[None]:
    """Hold the lock of an index; the system frees it when the process ends, however it ends.

    An index on object storage has none: nothing keeps two writers apart there.

    Raises:
        InputError: another process holds it, or the folder cannot be written.
    """
    location = as_location(location)
    if not is_local(location) or sys.platform == "win32":
        yield
        return
    folder = Path(location)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise InputError(
            f"the index {location} cannot be written ({error.strerror}); give another folder"
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            f"another process is writing to the index {location}; wait until it has finished"
        ) from None
    else:
        yield
    finally:
        os.close(handle)
