"""The location of an index: a folder, or a URI that Lance reads."""

from errors import InputError

PICTURES, ABOUT = "pictures", "about"  # the tables
INDEX_FOLDER = f"{PICTURES}.lance"  # in the folder of an index
LOCK = ".lock"  # a file beside it


def as_location(location: str) -> str:
    """A location as Lance takes it: a folder, also of a `file://` URI, or another URI.

    Raises:
        InputError: it is empty.
    """
    location = location.removeprefix("file://")
    if not location:
        raise InputError("the name of the index is empty; give a folder")
    return location


def is_local(location: str) -> bool:
    """Whether a location is a folder, and not a URI."""
    return "://" not in location
