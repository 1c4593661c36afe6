"""Frames of video files: their numbers, times and pictures, and files that have none."""

import re
import wave
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from errors import InputError
from misc.search.footage.video import Frame, open_video
from tests.search.footage.conftest import SIZE, shade


def test_frames_are_numbered_and_timed_in_the_order_of_the_stream(video):
    opened = open_video(video())
    assert (opened.width, opened.height) == SIZE
    assert opened.num_frames == 20
    frames = list(opened.frames())
    assert [frame.number for frame in frames] == list(range(20))
    assert [float(frame.seconds) for frame in frames] == [number / 10 for number in range(20)]
    for frame in frames:
        assert np.asarray(frame.picture).mean() == pytest.approx(shade(frame.number), abs=3)


def test_time_stamps_count_and_not_the_frame_rate(video):
    uneven = open_video(video(num_frames=4, stamps=[0, 1, 7, 30]))
    assert [round(float(frame.seconds), 3) for frame in uneven.frames()] == [0, 0.1, 0.7, 3]


def test_seconds_begin_with_the_first_frame(video):
    late = open_video(video("late.ts", num_frames=5))  # whose stamps begin at 1.4 s
    assert [round(float(frame.seconds), 2) for frame in late.frames()] == [0, 0.1, 0.2, 0.3, 0.4]


def test_files_without_pictures_are_refused(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    sound = tmp_path / "sound.wav"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    for file, reason in (
        (text, "cannot be decoded"),
        (sound, "has no pictures"),
        (tmp_path / "absent.mp4", "does not exist"),
        (tmp_path, "does not exist"),
    ):
        with pytest.raises(InputError, match=rf"^{re.escape(str(file))} {reason}"):
            open_video(file)


def test_a_file_that_is_damaged_in_the_middle_is_refused(tmp_path, video):
    file = tmp_path / "still.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"still\.png cannot be decoded"):
        list(open_video(file).frames())


@pytest.mark.parametrize(
    ("degrees", "corner"), [(0, (0, 0)), (90, (0, 5)), (-90, (3, 0)), (180, (3, 5))]
)
def test_a_frame_is_turned_as_the_file_says(degrees, corner):
    """The red pixel in the upper left corner of the stored frame, by the shown one."""
    stored = Image.new("RGB", (4, 6) if degrees in (0, 180) else (6, 4))
    stored.putpixel((0, 0), (255, 0, 0))

    class Decoded:
        rotation = degrees

        def to_image(self) -> Image.Image:
            return stored

    shown = Frame(0, Fraction(0), Decoded()).picture
    assert shown.size == (4, 6)
    assert shown.getpixel(corner) == (255, 0, 0)
