"""Pictures on the disk."""

from pathlib import Path

from PIL import Image

from errors import InputError


def read_picture(file: Path) -> Image.Image:
    """The picture in RGB.

    Raises:
        InputError: if it is missing or cannot be decoded.
    """
    try:
        with Image.open(file) as picture:
            return picture.convert("RGB")
    except FileNotFoundError:
        raise InputError(
            f"there is no picture {file}, which the dataset names; check data.image_root, or "
            "reid.root"
        ) from None
    except Exception as error:  # Pillow raises nearly any type on a damaged file
        raise InputError(f"the picture {file} cannot be read ({error}); replace it") from None
