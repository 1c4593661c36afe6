"""Picture files that are written whole, or with an error."""

from io import BytesIO
from pathlib import Path

from PIL import Image


def write_picture(
    file: Path, picture: Image.Image, kind: str | None = None, **options: int | bool
) -> None:
    """Write a picture, encoded in memory: Pillow itself does not notice if a disk takes only a part
    of its last write, and leaves a picture that is cut short.

    Args:
        kind: Pillow's name of the format; None: that of the file's suffix.
        options: of Pillow's encoder.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix is of no format.
    """
    kind = kind or Image.registered_extensions().get(file.suffix.lower())
    if kind is None:
        raise ValueError(f"unknown file extension: {file.suffix}")
    content = BytesIO()
    picture.save(content, kind, **options)
    file.write_bytes(content.getvalue())
