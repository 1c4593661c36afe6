"""Image files."""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image

from errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
WHITE = 2**16 - 1  # of 16 bits
TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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
    except InputError as error:
        raise InputError(f"image {file}: {error}") from None
    except Exception as error:  # Pillow raises nearly any type on a damaged file
        raise InputError(f"image {file} cannot be read ({error}); replace it") from None


def to_rgb(picture: Image.Image) -> Image.Image:
    """A copy in RGB, turned upright as its EXIF orientation says: phones store theirs lying.

    Raises:
        InputError: it is not known which value of the picture is white.
    """
    copy = _with_8_bits(picture).convert("RGB")
    turn = _turn(copy)
    upright = copy if turn is None else copy.transpose(turn)
    upright.info = {}  # or else the copy of the copy would be turned again
    return upright


def _with_8_bits(picture: Image.Image) -> Image.Image:
    """Grey values of 16 bits, which Pillow would clip at 255, scaled to 8."""
    if picture.mode == "F":
        raise InputError("a picture of floats has no known white; save it with 8 or 16 bits")
    if not picture.mode.startswith("I"):
        return picture
    grey = picture.convert("I")
    values = np.asarray(grey)
    if values.min() < 0 or values.max() > WHITE:
        raise InputError(
            f"a picture with values beyond 0 to {WHITE} has no known white; save it with 8 or 16 "
            "bits"
        )
    return grey.point(lambda value: value * (255 / WHITE) + 0.5)


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """The turn that the EXIF block asks for; None if it asks for none, or is damaged."""
    try:
        return TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except (SyntaxError, ValueError, struct.error):  # its header, its text form, its values
        return None
