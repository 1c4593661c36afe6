"""Pictures as files store them: depths, modes, and EXIF blocks, damaged ones, too."""

import io
import os
import re

import numpy as np
import pytest
from PIL import Image

from errors import InputError
from misc.datasets.pictures import BadPicture, decode_picture, read_picture, to_rgb

ORIENTATION = 0x0112
DEEP = np.array([[0, 128, 257, 32768, 65535]])
SHOWN = [0, 0, 1, 128, 255]  # DEEP / 257


def saved(tmp_path, picture, name="picture.png", **options):
    picture.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("grey.png", "u2"), ("grey.tif", "<u2"), ("grey.tif", ">u2"), ("grey.tif", "i4")],
)
def test_16_bits_are_scaled_to_8(tmp_path, name, dtype):
    file = saved(tmp_path, Image.fromarray(DEEP.astype(dtype)), name)
    assert np.asarray(read_picture(file)).tolist() == [[[value] * 3 for value in SHOWN]]


def test_a_picture_in_memory_is_scaled_and_not_changed():
    picture = Image.fromarray(DEEP.astype(np.int32))
    assert np.asarray(to_rgb(picture))[0, :, 0].tolist() == SHOWN
    assert np.array_equal(np.asarray(picture), DEEP)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([[0.0, 1.0]], np.float32), "a picture of floats has no known white"),
        (np.array([[0, 65536]], np.int32), "values beyond 0 to 65535 has no known white"),
        (np.array([[-1, 100]], np.int32), "values beyond 0 to 65535 has no known white"),
    ],
)
def test_values_without_a_known_white_are_refused(tmp_path, values, reason):
    picture = Image.fromarray(values)
    with pytest.raises(InputError, match=rf"image .*deep\.tif: .*{reason}; save it with 8 or 16"):
        read_picture(saved(tmp_path, picture, "deep.tif"))
    with pytest.raises(InputError, match=reason):
        to_rgb(picture)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_8_bits_are_converted_as_pillow_does(mode):
    noise = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    picture = Image.fromarray(noise, "RGBA").convert("RGB").convert(mode)
    expected = np.asarray(picture.convert("RGB"))
    assert np.array_equal(np.asarray(to_rgb(picture)), expected)


@pytest.mark.parametrize("name", ["moving.gif", "moving.webp"])
def test_the_first_frame_of_a_moving_picture_is_read(tmp_path, name):
    frames = [Image.new("RGB", (4, 4), (level,) * 3) for level in (200, 10)]
    file = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], lossless=True)
    assert read_picture(file).getpixel((0, 0)) == (200, 200, 200)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_turned_upright_once(tmp_path, orientation, depth):
    levels = np.arange(6).reshape(2, 3) * (40 if depth == 8 else 40 * 257)
    dtype = np.uint8 if depth == 8 else np.uint16
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = saved(tmp_path, Image.fromarray(levels.astype(dtype)), exif=exif)
    upright = {
        1: levels,
        2: levels[:, ::-1],
        3: levels[::-1, ::-1],
        4: levels[::-1],
        5: levels.T,
        6: levels[::-1].T,
        7: levels[::-1, ::-1].T,
        8: levels[:, ::-1].T,
    }[orientation] // (1 if depth == 8 else 257)
    picture = read_picture(file)
    assert np.array_equal(np.asarray(picture)[..., 0], upright)
    assert np.array_equal(np.asarray(to_rgb(picture)), np.asarray(picture))


@pytest.mark.parametrize(
    ("size", "least", "read"),
    [
        ((1200, 400), (300, 100), (300, 100)),
        ((1200, 400), (301, 100), (600, 200)),
        ((1200, 400), (300, 101), (600, 200)),
        ((1200, 400), (1200, 400), (1200, 400)),
        ((1200, 800), (600, 100), (600, 400)),
    ],
)
def test_a_jpeg_is_read_at_a_reduced_size_that_has_enough_rows_and_columns(size, least, read):
    content = io.BytesIO()
    Image.new("RGB", size[::-1]).save(content, "JPEG")
    assert decode_picture(content.getvalue(), "photo.jpg", least).size == read[::-1]
    assert decode_picture(content.getvalue(), "photo.jpg").size == size[::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rows_and_columns_of_a_reduced_size_are_those_of_the_upright_picture(orientation):
    exif, content = Image.Exif(), io.BytesIO()
    exif[ORIENTATION] = orientation
    lying = orientation > 4
    Image.new("RGB", (1200, 400) if lying else (400, 1200)).save(content, "JPEG", exif=exif)
    assert decode_picture(content.getvalue(), "photo.jpg", (600, 100)).size == (200, 600)


def little(*entries: bytes) -> bytes:
    """An EXIF block of little-endian entries: tag, type, count, value."""
    return b"Exif\0\0II*\0\x08\0\0\0" + bytes([len(entries), 0]) + b"".join(entries) + b"\0" * 4


SIXTH = b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"  # orientation 6


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0MM",
        b"Exif\0\0no TIFF header",
        little(SIXTH)[:20],
        little(b"\x12\x01\x03\0\xff\xff\xff\x7f\xff\xff\xff\x7f"),  # values beyond the block
        little(b"\x12\x01\x04\0\x01\0\0\0\x06\0\0\0")[:-6],
        little(b"\x12\x01\x02\0\x03\0\0\0six\0"),  # text
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_damaged_orientation_leaves_the_picture_as_it_is(exif):
    picture = Image.new("RGB", (3, 2), (10, 200, 90))
    content = io.BytesIO()
    picture.save(content, "PNG", exif=exif)
    assert np.array_equal(
        np.asarray(decode_picture(content.getvalue(), "photo.png")), np.asarray(picture)
    )


def test_damage_behind_the_orientation_does_not_keep_a_picture_lying():
    make = b"\x0f\x01\x0b\0\x01\0\0\0\0\0\x80?"  # the camera's maker, as a float
    content = io.BytesIO()
    Image.new("RGB", (3, 2)).save(content, "JPEG", exif=little(make, SIXTH))
    assert decode_picture(content.getvalue(), "photo.jpg").size == (2, 3)


def test_an_old_profile_that_is_no_hexadecimal_is_no_orientation():
    picture = Image.new("RGB", (3, 2))
    picture.info["Raw profile type exif"] = "\nexif\n 4\nzz\n"
    assert to_rgb(picture).size == (3, 2)


def jpeg(**options: object) -> bytes:
    """A picture with some detail."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 8, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).resize((96, 192)).save(content, "JPEG", **options)
    return content.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality": 100, "subsampling": 0},
        {"progressive": True},
        {"restart_marker_blocks": 4},
        {"comment": b"\xff\xd9" * 9},
    ],
)
@pytest.mark.parametrize("trailer", [b"", b"\0" * 999, b"\xff\xd8 a thumbnail \xff\xd9"])
def test_a_whole_jpeg_is_decoded_as_pillow_does(options, trailer):
    content = jpeg(**options) + trailer
    expected = np.asarray(Image.open(io.BytesIO(content)))
    assert np.array_equal(np.asarray(decode_picture(content, "photo.jpg")), expected)


@pytest.mark.parametrize("options", [{}, {"quality": 100, "subsampling": 0}, {"optimize": True}])
def test_a_jpeg_that_lacks_data_before_its_end_is_refused(options):
    content = jpeg(**options)
    for size in range(700, len(content) - 20, 97):
        cut = content[:size] + b"\xff\xd9"
        assert Image.open(io.BytesIO(cut)).convert("RGB")  # Pillow makes up the rest
        with pytest.raises(BadPicture, match=r"photo\.jpg cannot be read \(image file is trunc"):
            decode_picture(cut, "photo.jpg")


def test_a_jpeg_that_is_cut_in_its_header_is_refused():
    for size in range(2, 640, 7):
        for end in (b"", b"\xff\xd9"):
            with pytest.raises(BadPicture, match=r"photo\.jpg cannot be read"):
                decode_picture(jpeg()[:size] + end, "photo.jpg")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"no picture", "cannot be read (neither JPEG, PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot be read (neither JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "neither JPEG"),
        (b"P6 20000 20000 255\n", "has too many pixels to be a photo; make it smaller"),
    ],
)
def test_what_is_no_picture_is_refused(content, reason):
    with pytest.raises(BadPicture, match=re.escape(reason)):
        decode_picture(content, "photo.jpg")


def test_pipes_devices_and_folders_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    for name in ("pipe.jpg", "folder.jpg", "zero.jpg"):
        with pytest.raises(BadPicture, match=rf"{name} is a folder, pipe or device"):
            read_picture(tmp_path / name)
    (tmp_path / "nowhere.jpg").symlink_to("absent")
    with pytest.raises(BadPicture, match=r"nowhere\.jpg does not exist"):
        read_picture(tmp_path / "nowhere.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    with pytest.raises(BadPicture, match=r"loop\.jpg cannot be read \(Too many levels"):
        read_picture(tmp_path / "loop.jpg")
