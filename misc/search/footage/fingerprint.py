"""Fingerprint of a video file, by which it is known again under any path."""

import hashlib
from pathlib import Path

from errors import InputError

END = 2**20  # bytes at the start and at the end that are read


def fingerprint(file: Path) -> str:
    """A hash of a file's size, its first MiB and its last: a long video is not read whole.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        size = file.stat().st_size
        content = hashlib.sha256(str(size).encode())
        with file.open("rb") as video:
            content.update(video.read(END))
            video.seek(max(0, size - END))
            content.update(video.read(END))
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror or error}); give a video file"
        ) from error
    return content.hexdigest()[:32]
