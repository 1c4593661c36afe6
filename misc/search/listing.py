"""The picture files of a folder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from errors import InputError
from misc.datasets.pictures import SUFFIXES
from misc.search.location import INDEX_FOLDER


@dataclass(frozen=True)
class FoundFile:
    """A file as the file system describes it."""

    path: str  # absolute, with forward slashes
    size: int  # bytes
    modified: int  # nanoseconds since 1970


def check_folder(folder: Path) -> None:
    """Check that there is a picture in a folder.

    Raises:
        InputError: the folder does not exist, cannot be read, or has no pictures.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a folder of pictures")
    if next(_walk(folder.resolve()), None) is None:
        raise InputError(f"{folder} has no pictures ({', '.join(SUFFIXES)}); give another folder")


def list_pictures(folder: Path) -> list[FoundFile]:
    """The pictures in a folder and all folders below, by path.

    Hidden ones are left out, and so are those in an index and behind links to folders.

    Raises:
        InputError: as `check_folder` does.
    """
    check_folder(folder)
    return sorted(_walk(folder.resolve()), key=lambda file: file.path)


def is_text(path: str) -> bool:
    """Whether a path can be stored: a name that is not UTF-8 cannot."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _walk(folder: Path) -> Iterator[FoundFile]:
    def refuse(error: OSError) -> None:
        raise InputError(f"the folder {error.filename} cannot be read ({error.strerror})")

    for parent, folders, names in os.walk(folder, onerror=refuse):
        if INDEX_FOLDER in folders:  # its own pictures are plots
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.startswith(".") or not name.lower().endswith(SUFFIXES):
                continue
            file = Path(parent, name)
            if file.is_file():  # and no dangling link
                status = file.stat()
                yield FoundFile(file.as_posix(), status.st_size, status.st_mtime_ns)
