"""Image files."""

from pathlib import Path

from PIL import Image

from errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def read_picture(file: Path) -> Image.Image:
    """Read an image as RGB.

    Raises:
        InputError: the file is missing or cannot be decoded.
    """
    try:
        with Image.open(file) as picture:
            return picture.convert("RGB")
    except FileNotFoundError:
        raise InputError(
            f"image {file} does not exist; check data.image_root or reid.root"
        ) from None
    except Exception as error:  # Pillow raises nearly any type on a damaged file
        raise InputError(f"image {file} cannot be read ({error}); replace it") from None
