"""Camera and time of a file, by its path."""

import argparse
import re
from pathlib import PurePosixPath

import pytest

from errors import InputError
from misc.search.path_fields import pattern, read_camera, read_time

PATH = PurePosixPath("site/cam07/20260101_080000.mp4")


def test_the_first_group_is_the_camera_or_all_that_matches():
    assert read_camera(pattern(r"cam(\d+)"), PATH) == 7
    assert read_camera(pattern(r"\d+"), PATH) == 7
    assert read_camera(pattern(r"lane(\d+)"), PATH) is None
    assert read_camera(pattern(r"cam(x)?"), PATH) is None
    assert read_camera(None, PATH) is None


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("20260101_080000", "2026-01-01 08:00:00"),
        ("2026-01-01 08:00:00", "2026-01-01 08:00:00"),
        ("2026-01-01T08-00-00", "2026-01-01 08:00:00"),
        ("2026-01-01T08:00:07.25", "2026-01-01 08:00:07.250000"),
        ("2026-01-01 08:00", "2026-01-01 08:00:00"),
        ("1767254400", "2026-01-01 08:00:00"),
        ("1767254400.5", "2026-01-01 08:00:00.500000"),
    ],
)
def test_times_are_read_in_several_forms(name, time):
    assert read_time(pattern(r"at (.*)\.mp4"), PurePosixPath(f"a/at {name}.mp4")) == time
    assert read_time(pattern(r"on (.*)\.mp4"), PurePosixPath(f"a/at {name}.mp4")) is None
    assert read_time(None, PATH) is None


@pytest.mark.parametrize("word", ["20261301_080000", "20260101_250000", "yesterday", "20260101"])
def test_what_is_no_time_is_refused(word):
    with pytest.raises(InputError, match=f"--time finds '{word}' in {word}, which is not a time"):
        read_time(pattern(".*"), PurePosixPath(word))


def test_what_is_no_camera_is_refused():
    with pytest.raises(InputError, match=r"--camera finds 'cam07' in .*, which is not a whole num"):
        read_camera(pattern(r"cam\d+"), PATH)


def test_a_camera_has_at_most_18_digits():
    camera = pattern(r"cam(\d+)")
    assert read_camera(camera, PurePosixPath(f"cam{'9' * 18}.jpg")) == 10**18 - 1
    with pytest.raises(InputError, match="not a whole number of at most 18 digits; put"):
        read_camera(camera, PurePosixPath(f"cam{2**63}.jpg"))


def test_an_invalid_expression_is_refused():
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape("'cam(' is not a regular")):
        pattern("cam(")
