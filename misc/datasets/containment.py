"""Images that lie outside the folder of their dataset."""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from errors import InputError


def refuse_outside(paths: Iterable[str], root: Path) -> None:
    """Refuse a dataset whose annotations name images outside its folder.

    Raises:
        InputError: some do, by `..`, an absolute path, or a link.
    """
    if strays := outside(paths, root):
        path, target = next(iter(strays.items()))
        raise InputError(
            f"data.image_root: {len(strays)} of the images lie outside {root}, such as {path} "
            f"({target}); set data.allow_outside=true if they may be read"
        )


def refuse_outside_alone(path: str, root: Path, home: Path, location: str) -> None:
    """Refuse a single image that lies outside its folder, without a look at the others.

    Args:
        home: `root`, resolved.
        location: of its annotation.

    Raises:
        InputError: it does, as in `refuse_outside`.
    """
    if not (target := (root / path).resolve()).is_relative_to(home):
        raise InputError(
            f"data.image_root: {location}: {path} ({target}) lies outside {root}; set "
            "data.allow_outside=true if it may be read"
        )


def outside(paths: Iterable[str], root: Path) -> dict[str, Path]:
    """The images that lie outside a folder, each with the file that would be read.

    The folder itself may be a link. Folders are looked at once, instead of each image.
    """
    home = root.resolve()
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_folder[os.path.dirname(path)].append(path)
    strays = {}
    for folder, members in by_folder.items():
        place = (root / folder).resolve()
        is_inside = place.is_relative_to(home)
        links = _links(place) if is_inside else set()
        for path in members:
            name = os.path.basename(path)
            target = (place / name).resolve() if name in links else place / name
            if not (is_inside and target.is_relative_to(home)):
                strays[path] = target
    return strays


def _links(folder: Path) -> set[str]:
    """The names of the links in a folder; it need not exist."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_symlink()}
    except OSError:
        return set()
