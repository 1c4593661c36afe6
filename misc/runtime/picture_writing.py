"""Picture files that are written whole, or with an error."""

from io import BytesIO
from pathlib import Path

from PIL import ExifTags, Image


def write_picture(
    file: Path,
    picture: Image.Image,
    kind: str | None = None,
    *,
    description: str = "",
    **options: int | bool,
) -> None:
    """Write a picture, encoded in memory: Pillow itself does not notice if a disk takes only a part
    of its last write, and leaves a picture that is cut short.

    Args:
        kind: Pillow's name of the format; None: that of the file's suffix.
        description: of the picture, for its Exif data where the format has such.
        options: of Pillow's encoder.

    Raises:
        OSError: the file cannot be written.
        ValueError: as `picture_kind` does.
    """
    content, about = BytesIO(), dict[str, Image.Exif]()
    if description:
        about["exif"] = Image.Exif()
        about["exif"][ExifTags.Base.ImageDescription] = description
    picture.save(content, kind or picture_kind(file), **about, **options)
    file.write_bytes(content.getvalue())


def picture_kind(file: Path) -> str:
    """Pillow's name of the format in which a file of this name is written.

    Raises:
        ValueError: the suffix is of no format that Pillow writes.
    """
    kind = Image.registered_extensions().get(file.suffix.lower())
    if kind not in Image.SAVE:
        raise ValueError(f"unknown file extension: {file.suffix}")
    return kind
