"""Image files."""

import io
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from errors import InputError
from misc.datasets.jpeg import START, without_end

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
# Pillow's names; others are left out because it would start a program for some, such as EPS.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
MOST_BYTES = 2**30
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
LYING = {  # turns that make rows of columns
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
}
Size = tuple[int, int]  # rows, columns


class BadPicture(InputError):
    """An image file that is missing or cannot be decoded."""


def read_picture(file: Path, least: Size | None = None) -> Image.Image:
    """Read an image as RGB, upright.

    Args:
        least: as of `decode_picture`.

    Raises:
        BadPicture: the file is missing, is no ordinary file, or cannot be decoded.
    """
    return decode_picture(read_content(file), file, least)


ReadNumbered = Callable[[int, Path], Image.Image]


def read_numbered(_: int, file: Path) -> Image.Image:
    """Read a picture, whatever its number."""
    return read_picture(file)


def read_content(file: Path) -> bytes:
    """The content of an image file.

    Raises:
        BadPicture: the file is missing or cannot be read, or is no ordinary file.
    """
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, a device may be endless
            raise BadPicture(f"image {file} is a folder, pipe or device; replace it by a file")
        if status.st_size > MOST_BYTES:
            raise BadPicture(f"image {file} has more than {MOST_BYTES:,} bytes; make it smaller")
        return file.read_bytes()
    except FileNotFoundError:
        raise BadPicture(
            f"image {file} does not exist; check data.image_root or reid.root"
        ) from None
    except OSError as error:
        raise BadPicture(f"image {file} cannot be read ({error.strerror}); replace it") from None


def decode_picture(content: bytes, file: Path, least: Size | None = None) -> Image.Image:
    """An image as RGB, upright, from the content of its file.

    Args:
        file: its name, for messages.
        least: decode a JPEG at 1/2, 1/4 or 1/8 of its size, which takes less time, where it then
            still has as many rows and columns, upright; None: whole.

    Raises:
        BadPicture: the content cannot be decoded.
    """
    if not content:
        raise BadPicture(f"image {file} is empty; replace it")
    whole = without_end(content) if content.startswith(START) else content
    try:
        with Image.open(io.BytesIO(whole), formats=FORMATS) as picture:
            if least:
                picture.draft(None, least if _turn(picture) in LYING else least[::-1])
            return to_rgb(picture)
    except InputError as error:
        raise BadPicture(f"image {file}: {error}") from None
    except UnidentifiedImageError:
        formats = f"{', '.join(FORMATS[:-1])} nor {FORMATS[-1]}"
        raise BadPicture(f"image {file} cannot be read (neither {formats}); replace it") from None
    except Image.DecompressionBombError:
        raise BadPicture(
            f"image {file} has too many pixels to be a photo; make it smaller"
        ) from None
    except Exception as error:  # Pillow raises nearly any type on a damaged file
        raise BadPicture(f"image {file} cannot be read ({error}); replace it") from None


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
