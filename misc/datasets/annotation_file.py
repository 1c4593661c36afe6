"""The content of annotation files."""

from pathlib import Path

from errors import InputError


def read_annotation_file(file: Path) -> bytes:
    """The bytes of an annotation file.

    Raises:
        InputError: it is missing, no ordinary file, or cannot be read.
    """
    try:
        if file.exists() and not file.is_file():
            raise InputError(f"data.annotation_file: {file} is a pipe or device; give a file")
        return file.read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"data.annotation_file: {file} does not exist; request it from the dataset's authors, "
            "or draw synthetic pedestrians in the same layout with `python -m misc.synthetic` "
            "(`make demo` draws its own)"
        ) from None
    except OSError as error:
        raise InputError(f"data.annotation_file: {file} cannot be read: {error.strerror}") from None
