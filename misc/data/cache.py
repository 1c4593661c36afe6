"""A cache of decoded pictures, which the processes of a machine share."""

import fcntl
import logging
import os
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from PIL import Image

log = logging.getLogger(__name__)

Read = Callable[[Path], Image.Image]

VERSION = b"decoded pictures 1\n".ljust(32)
HEADER = struct.Struct("<32sQ")  # version, the end of what is written
ENTRY = struct.Struct("<16sQHH4x")  # key, place, rows, columns; a place of 0: nothing yet
MOST_PIXELS = 2**16 - 1  # along a side


class Counts(NamedTuple):
    """Pictures that were read, and those of them that were in the cache."""

    read: int = 0
    cached: int = 0


class PictureCache:
    """Decoded pictures in one open file, in memory or on a disk.

    The file begins with a table that has an entry for each picture, by the picture's number. The
    entry's key tells the path, size and time of the picture's own file, so that a picture that was
    changed is read again; a changed one takes room of its own. What is written is never moved, and
    an entry is written after its pixels: readers need no lock.

    Args:
        size: the number of pictures.
        room: bytes of the file at most. A picture that does not fit is not kept.
        read: decodes a picture.
        descriptor: of the file, which is empty or a cache of as many pictures.
    """

    def __init__(self, size: int, room: int, read: Read, descriptor: int) -> None:
        self.room, self.read, self.descriptor = room, read, descriptor
        self.start = HEADER.size + size * ENTRY.size
        self.counts, self.adds = Counts(), True
        with self._locked():
            header = os.pread(descriptor, HEADER.size, 0)
            if not header:
                os.ftruncate(descriptor, self.start)
                os.pwrite(descriptor, HEADER.pack(VERSION, self.start), 0)
            elif len(header) < HEADER.size or HEADER.unpack(header)[0] != VERSION:
                raise ValueError("it is none of this version")

    def __call__(self, number: int, file: Path) -> Image.Image:
        """A picture, from the cache if it is there.

        Raises:
            BadPicture: as `read` does.
        """
        key = _key(file)
        entry_place = HEADER.size + number * ENTRY.size
        known, place, rows, columns = ENTRY.unpack(
            os.pread(self.descriptor, ENTRY.size, entry_place)
        )
        read, cached = self.counts
        if place and known == key:
            content = os.pread(self.descriptor, 3 * rows * columns, place)
            if len(content) == 3 * rows * columns:
                self.counts = Counts(read + 1, cached + 1)
                return Image.frombytes("RGB", (columns, rows), content)
        self.counts = Counts(read + 1, cached)
        picture = self.read(file)
        if self.adds and key and max(picture.size) <= MOST_PIXELS:
            try:
                self._add(key, entry_place, picture)
            except OSError as error:
                self.adds = False
                log.error("data.cache: no more pictures are kept (%s)", error.strerror)
        return picture

    def take_counts(self) -> Counts:
        """The counts of this process since the last call."""
        counts, self.counts = self.counts, Counts()
        return counts

    def used(self) -> int:
        """Bytes of the file."""
        return int(HEADER.unpack(os.pread(self.descriptor, HEADER.size, 0))[1])

    def _add(self, key: bytes, entry_place: int, picture: Image.Image) -> None:
        content = picture.tobytes()
        with self._locked():
            if os.pread(self.descriptor, 16, entry_place) == key:  # another process was faster
                return
            place = self.used()
            if place + len(content) > self.room:
                self.adds = False
                return
            os.pwrite(self.descriptor, HEADER.pack(VERSION, place + len(content)), 0)
        if os.pwrite(self.descriptor, content, place) == len(content):  # else the disk is full
            entry = ENTRY.pack(key, place, picture.height, picture.width)
            os.pwrite(self.descriptor, entry, entry_place)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN)


def open_cache(
    kind: str, folder: Path, files: Sequence[Path], room: int, read: Read, description: str
) -> PictureCache | None:
    """A cache of the decoded pictures of a training set; None if there is none.

    Args:
        kind: `none`; `memory`: for this process and those that it forks; `disk`: in a file of
            `folder`, for later runs, too.
        files: of the pictures, by number.
        room: bytes at most.
        description: tells how `read` decodes; others have a file of their own.
    """
    if kind == "none":
        return None
    if sys.platform != "linux":
        log.warning("data.cache=%s needs Linux: nothing is cached", kind)
        return None
    if kind == "memory":
        return PictureCache(len(files), room, read, os.memfd_create("pictures"))
    digest = blake2b(description.encode(), digest_size=8)
    for file in files:
        digest.update(f"\n{file}".encode(errors="surrogatepass"))
    path = folder / f"pictures-{digest.hexdigest()}.cache"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return PictureCache(len(files), room, read, os.open(path, os.O_RDWR | os.O_CREAT, 0o644))
    except OSError as error:
        log.warning(
            "data.cache: %s cannot be written (%s): nothing is cached", path, error.strerror
        )
    except ValueError as error:
        log.warning("data.cache: %s is not used, as %s: delete it", path, error)
    return None


def _key(file: Path) -> bytes:
    """A digest of a file's path, size and time; nothing if it is not there."""
    try:
        status = file.stat()
    except OSError:
        return b""
    told = f"{file} {status.st_size} {status.st_mtime_ns}"
    return blake2b(told.encode(errors="surrogatepass"), digest_size=16).digest()
