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


@dataclass(frozen=True)
class Link:
    """A link to a folder, which is not followed, or one that leads nowhere."""

    path: str  # as that of a file
    is_dead: bool


@dataclass(frozen=True)
class Listing:
    """The pictures in a folder and all folders below, and the links that are left out; by path."""

    files: list[FoundFile]
    folder_links: list[str]
    dead_links: list[str]


def check_folder(folder: Path) -> None:
    """Check that there is a picture in a folder.

    Raises:
        InputError: the folder does not exist, cannot be read, or has no pictures.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a folder of pictures")
    advice = "give another folder"
    for found in _walk(folder.resolve()):
        if isinstance(found, FoundFile):
            return
        if not found.is_dead:
            advice = "links to folders are not followed, so give the folders themselves"
    raise InputError(f"{folder} has no pictures ({', '.join(SUFFIXES)}); {advice}")


def list_pictures(folder: Path) -> Listing:
    """The pictures in a folder and all folders below.

    Hidden ones and those in an index are left out, and so are those behind links to folders, which
    may lead around in circles.

    Raises:
        InputError: as `check_folder` does.
    """
    check_folder(folder)
    found = sorted(_walk(folder.resolve()), key=lambda each: each.path)
    links = [each for each in found if isinstance(each, Link)]
    return Listing(
        [each for each in found if isinstance(each, FoundFile)],
        [link.path for link in links if not link.is_dead],
        [link.path for link in links if link.is_dead],
    )


def is_text(path: str) -> bool:
    """Whether a path can be stored: a name that is not UTF-8 cannot."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _walk(folder: Path) -> Iterator[FoundFile | Link]:
    def refuse(error: OSError) -> None:
        raise InputError(f"the folder {error.filename} cannot be read ({error.strerror})")

    for parent, folders, names in os.walk(folder, onerror=refuse):
        if INDEX_FOLDER in folders:  # its own pictures are plots
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in (Path(parent, name) for name in folders):
            if file.is_symlink():
                yield Link(file.as_posix(), is_dead=False)
        for file in (Path(parent, name) for name in names if not name.startswith(".")):
            if file.name.lower().endswith(SUFFIXES) and os.path.isfile(file):
                status = file.stat()
                yield FoundFile(file.as_posix(), status.st_size, status.st_mtime_ns)
            elif file.is_symlink() and not os.path.exists(file):
                yield Link(file.as_posix(), is_dead=True)
