"""A cache of decoded pictures, which the processes of a machine share."""

import errno
import fcntl
import logging
import os
import struct
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from PIL import Image

log = logging.getLogger(__name__)

Read = Callable[[Path], Image.Image]

VERSION = b"decoded pictures 2\n".ljust(32)
HEADER = struct.Struct("<32sQ")  # version, the end of what is written
ENTRY = struct.Struct("<16sQHHI")  # key, place, rows, columns, checksum; a place of 0: nothing
PATTERN = "pictures-*.cache"
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
    an entry is written after its pixels: readers need no lock. An entry has their checksum, since a
    loss of power may keep the entry and lose the pixels. A file that cannot be read or written
    costs the cache, not the run.

    Args:
        size: the number of pictures.
        room: bytes at most, of this file and of the other caches of its folder. A picture that does
            not fit is not kept.
        read: decodes a picture.
        descriptor: of the file, which is empty or a cache of as many pictures.
        file: its path; None: in memory.

    Attributes:
        needed: files of the folder that no warning calls deletable.
    """

    def __init__(
        self, size: int, room: int, read: Read, descriptor: int, file: Path | None = None
    ) -> None:
        self.room, self.read, self.descriptor, self.file = room, read, descriptor, file
        self.counts, self.adds, self.failed = Counts(), True, False
        self.needed: Collection[Path | None] = ()
        start = HEADER.size + size * ENTRY.size
        with self._locked():
            header = os.pread(descriptor, HEADER.size, 0)
            if not header.strip(b"\0"):  # all zeros: making it was cut short
                os.ftruncate(descriptor, start)
                os.pwrite(descriptor, HEADER.pack(VERSION, start), 0)
            elif len(header) < HEADER.size or HEADER.unpack(header)[0] != VERSION:
                raise ValueError("it is none of this version")

    def __call__(self, number: int, file: Path) -> Image.Image:
        """A picture, from the cache if it is there.

        Raises:
            BadPicture: as `read` does.
        """
        key, entry_place = _key(file), HEADER.size + number * ENTRY.size
        entry, kept = b"", None
        with self._tolerant():
            entry = self._bytes(ENTRY.size, entry_place)
            kept = self._find(key, entry)
        read, cached = self.counts
        self.counts = Counts(read + 1, cached + (kept is not None))
        if kept is not None:
            return kept
        picture = self.read(file)
        if self.adds and key and max(picture.size) <= MOST_PIXELS:
            with self._tolerant():
                self._add(key, entry_place, entry, picture)
        return picture

    def take_counts(self) -> Counts:
        """The counts of this process since the last call."""
        counts, self.counts = self.counts, Counts()
        return counts

    def used(self) -> int:
        """Bytes of the file; 0 if it cannot be read."""
        with self._tolerant():
            return self._end()
        return 0

    def _find(self, key: bytes, entry: bytes) -> Image.Image | None:
        """The picture of an entry, if the entry has this key and the pixels are as written."""
        known, place, rows, columns, checksum = ENTRY.unpack(entry)
        if not place or known != key:
            return None
        content = os.pread(self.descriptor, 3 * rows * columns, place)
        if len(content) < 3 * rows * columns or crc32(content) != checksum:
            return None
        return Image.frombytes("RGB", (columns, rows), content)

    def _add(self, key: bytes, entry_place: int, entry: bytes, picture: Image.Image) -> None:
        content = picture.tobytes()
        with self._locked():
            if self._bytes(ENTRY.size, entry_place) != entry:  # another process was faster
                return
            place, others = self._end(), self._others()
            if place + len(content) + sum(others.values()) > self.room:
                self.adds = False
                if deletable := [file for file in others if file not in self.needed]:
                    log.warning(
                        "data.cache: no more pictures are kept, as data.cache_gib is used up; "
                        "delete those of these files that no run needs: %s",
                        ", ".join(f"{file} ({others[file] / 2**30:.2f} GiB)" for file in deletable),
                    )
                return
            os.pwrite(self.descriptor, HEADER.pack(VERSION, place + len(content)), 0)
        if os.pwrite(self.descriptor, content, place) == len(content):  # else the disk is full
            entry = ENTRY.pack(key, place, picture.height, picture.width, crc32(content))
            os.pwrite(self.descriptor, entry, entry_place)

    def _others(self) -> dict[Path, int]:
        """Bytes of the other caches of the folder, which share the room."""
        if self.file is None:
            return {}
        files = sorted({*self.file.parent.glob(PATTERN)} - {self.file})
        return {file: file.stat().st_size for file in files}

    def _end(self) -> int:
        return int(HEADER.unpack(self._bytes(HEADER.size, 0))[1])

    def _bytes(self, size: int, place: int) -> bytes:
        content = os.pread(self.descriptor, size, place)
        if len(content) < size:
            raise OSError(errno.EIO, "its file was cut")
        return content

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Go on without keeping more pictures if the file fails; the first fault is logged."""
        try:
            yield
        except OSError as error:
            if not self.failed:
                log.error("data.cache: no more pictures are kept (%s)", error.strerror)
            self.adds, self.failed = False, True

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
            `folder`, for later runs with the same pictures, too.
        files: of the pictures, by number.
        room: bytes at most; on a disk, of all files of `folder` together.
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
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        return PictureCache(len(files), room, read, descriptor, path)
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
