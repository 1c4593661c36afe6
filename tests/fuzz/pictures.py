"""Image files: some 60 kinds of good, bad and damaged ones.

A good picture is read as it was drawn, a bad one is refused in a sentence, and a damaged one whose
damage shows nowhere has its size at least.
"""

import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from misc.datasets.pictures import BadPicture, decode_picture, read_picture

COUNT = 3000
SAMPLE = 150

ORIENTATION = 0x0112
TOLERANCE = 24  # mean difference of a lossy format, of 255
LOSSLESS = ("png", "bmp", "tiff", "gif", "ppm")
FORMATS: dict[str, dict[str, object]] = {
    "jpeg": {"quality": 95},
    "jpeg progressive": {"progressive": True},
    "jpeg restarts": {"restart_marker_blocks": 3},
    "jpeg 4:4:4": {"subsampling": 0, "optimize": True},
    "png": {},
    "bmp": {},
    "webp": {"lossless": True},
    "webp lossy": {"quality": 90},
    "tiff": {},
    "tiff lzw": {"compression": "tiff_lzw"},
    "gif": {},
    "ppm": {},
    "jpeg2000": {},
    "avif": {"quality": 95},
}
MODES = {
    "jpeg": ("L", "RGB", "CMYK", "YCbCr"),
    "png": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "tiff": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"),
    "bmp": ("1", "L", "P", "RGB"),
}
CUT = ("jpeg", "jpeg progressive", "jpeg restarts", "png", "bmp", "webp", "tiff", "gif", "ppm")
NO_PICTURES = {
    "nothing": b"",
    "text": b"a man in a red coat\n",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
    "html": b"<!DOCTYPE html><title>404</title>",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
    "pdf": b"%PDF-1.4\n",
    "lfs pointer": b"version https://git-lfs.github.com/spec/v1\n",
    "zeros": bytes(5000),
    "bomb": b"P6 30000 30000 255\n" + bytes(99),
}


def case(random: Random, folder: Path) -> None:
    """A picture of a kind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's of damaged EXIF blocks and TIFF fields
        random.choice(list(KINDS.values()))(random, folder)


def drawn(random: Random) -> Image.Image:
    """A smooth picture that every format keeps."""
    size = random.choice([(1, 1), (1, 40), (33, 17), (64, 128)])
    corners = np.array([[random.randrange(256) for _ in range(3)] for _ in range(4)], np.uint8)
    return Image.fromarray(corners.reshape(2, 2, 3)).resize(size, Image.Resampling.BILINEAR)


def encoded(picture: Image.Image, kind: str, **more: object) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind.split()[0], **{**FORMATS[kind], **more})
    return content.getvalue()


def written(random: Random, folder: Path, content: bytes) -> Path:
    """A file with a name that tells nothing of its format."""
    name = random.choice(
        ["a.jpg", "b.JPEG", "c.png", "d.tif", "no suffix", "\u00fc\u4eba.webp", "e\nf.bmp"]
    )
    file = folder / name
    file.write_bytes(content)
    return file


def expect(file: Path, picture: Image.Image, tolerance: float) -> None:
    expected = np.asarray(picture.convert("RGB"), np.int16)
    read = np.asarray(read_picture(file), np.int16)
    assert read.shape == expected.shape
    assert np.abs(read - expected).mean() <= tolerance


def refuse(file: Path) -> None:
    with pytest.raises(BadPicture, match=r"(?s)^image (?!.* object at 0x)") as caught:
        read_picture(file)
    raise caught.value


def good(kind: str, mode: str) -> Callable[[Random, Path], None]:
    def try_it(random: Random, folder: Path) -> None:
        picture = drawn(random).convert(mode)
        trailer = random.choice([b"", b"", bytes(700), b"\xff\xd9", random.randbytes(99)])
        file = written(random, folder, encoded(picture, kind) + trailer)
        exact = kind.split()[0] in LOSSLESS and kind != "gif" and mode != "YCbCr"
        expect(file, picture, 0 if exact else TOLERANCE)

    return try_it


def cut(kind: str) -> Callable[[Random, Path], None]:
    """A file that ends at some tenth, possibly with the end marker of a JPEG."""

    def try_it(random: Random, folder: Path) -> None:
        picture = drawn(random)
        whole = encoded(picture, kind)
        content = whole[: len(whole) * random.randrange(10) // 10]
        ends_well = kind.startswith("jpeg") and random.random() < 0.5
        file = written(random, folder, content + b"\xff\xd9" * ends_well)
        if kind == "gif" or (ends_well and kind != "jpeg"):  # such frames and scans may be short
            assert read_picture(file).size == picture.size
        else:  # refused, or nothing of the pixels was cut
            expect(file, decode_picture(whole, file), 0)

    return try_it


def flipped(kind: str) -> Callable[[Random, Path], None]:
    def try_it(random: Random, folder: Path) -> None:
        content = bytearray(encoded(drawn(random), kind))
        for _ in range(random.choice([1, 1, 10])):
            content[random.randrange(len(content))] = random.randrange(256)
        assert read_picture(written(random, folder, bytes(content))).mode == "RGB"

    return try_it


def no_picture(content: bytes) -> Callable[[Random, Path], None]:
    return lambda random, folder: refuse(written(random, folder, content))


def deep(random: Random, folder: Path) -> None:
    """Grey values of 16 bits."""
    values = np.array([[random.randrange(2**16) for _ in range(5)] for _ in range(3)])
    kind, dtype = random.choice([("png", "u2"), ("tiff", "<u2"), ("tiff", ">u2"), ("tiff", "i4")])
    file = written(random, folder, encoded(Image.fromarray(values.astype(dtype)), kind))
    grey = np.asarray(read_picture(file), np.int64)
    assert np.abs(grey - (values / 257)[..., None]).max() <= 0.51


def without_white(random: Random, folder: Path) -> None:
    values = np.array([[random.choice([-1, 2**16, 2**31 - 1]), 7]])
    dtype = random.choice([np.float32, np.int32])
    refuse(written(random, folder, encoded(Image.fromarray(values.astype(dtype)), "tiff")))


def turned(random: Random, folder: Path) -> None:
    picture, orientation = drawn(random), random.randrange(12)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = written(random, folder, encoded(picture, random.choice(["jpeg", "png"]), exif=exif))
    lies = orientation in (5, 6, 7, 8)
    assert read_picture(file).size == (picture.size[::-1] if lies else picture.size)


def moving(random: Random, folder: Path) -> None:
    frames = [Image.new("RGB", (9, 9), (level,) * 3) for level in (200, 10, 90)]
    kind = random.choice(["gif", "webp", "png", "tiff"])
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    expect(written(random, folder, content), frames[0], 1)


def stereo(random: Random, folder: Path) -> None:
    """Two pictures in one JPEG, as some cameras take."""
    content, picture = io.BytesIO(), drawn(random)
    picture.save(content, "MPO", save_all=True, append_images=[drawn(random)])
    expect(written(random, folder, content.getvalue()), picture, TOLERANCE)


def transparent(random: Random, folder: Path) -> None:
    picture = drawn(random).convert("P")
    kind = random.choice(["png", "gif"])
    content = encoded(picture, kind, transparency=random.randrange(256))
    expect(written(random, folder, content), picture, TOLERANCE)


def no_file(make: Callable[[Path], None]) -> Callable[[Random, Path], None]:
    def try_it(_: Random, folder: Path) -> None:
        make(folder / "a.jpg")
        refuse(folder / "a.jpg")

    return try_it


def link(random: Random, folder: Path) -> None:
    picture = drawn(random)
    file = written(random, folder, encoded(picture, "png"))
    (folder / "link.jpg").symlink_to(file.name)
    expect(folder / "link.jpg", picture, 0)


KINDS: dict[str, Callable[[Random, Path], None]] = {
    **{kind: good(kind, "RGB") for kind in FORMATS},
    **{f"{kind} {mode}": good(kind, mode) for kind, modes in MODES.items() for mode in modes},
    **{f"cut {kind}": cut(kind) for kind in CUT},
    **{f"flipped {kind}": flipped(kind) for kind in FORMATS},
    **{name: no_picture(content) for name, content in NO_PICTURES.items()},
    "deep": deep,
    "without white": without_white,
    "turned": turned,
    "moving": moving,
    "stereo": stereo,
    "transparent": transparent,
    "link": link,
    "absent": no_file(lambda file: None),
    "folder": no_file(Path.mkdir),
    "pipe": no_file(os.mkfifo),
    "device": no_file(lambda file: file.symlink_to("/dev/zero")),
    "link to nowhere": no_file(lambda file: file.symlink_to("absent.jpg")),
    "link to itself": no_file(lambda file: file.symlink_to(file.name)),
}
