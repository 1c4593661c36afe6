"""Image files."""

from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps

from errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def read_picture(file: Path) -> Image.Image:
    """Read an image as RGB, upright.

    Raises:
        InputError: the file is missing or cannot be decoded.
    """
    return decode_picture(file, file)


def decode_picture(source: Path | BinaryIO, file: Path) -> Image.Image:
    """An image as RGB, upright, from a file or its content.

    Args:
        file: its name, for messages.

    Raises:
        InputError: the file is missing or cannot be decoded.
    """
    try:
        with Image.open(source) as picture:
            return to_rgb(picture)
    except FileNotFoundError:
        raise InputError(
            f"image {file} does not exist; check data.image_root or reid.root"
        ) from None
    except Exception as error:  # Pillow raises nearly any type on a damaged file
        raise InputError(f"image {file} cannot be read ({error}); replace it") from None


def to_rgb(picture: Image.Image) -> Image.Image:
    """A copy in RGB, turned upright as its EXIF orientation says: phones store theirs lying."""
    copy = picture.convert("RGB")
    ImageOps.exif_transpose(copy, in_place=True)
    return copy
