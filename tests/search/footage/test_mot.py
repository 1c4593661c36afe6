"""Boxes of MOTChallenge files."""

import re

import pytest

from errors import InputError
from misc.search.footage.box import Box
from misc.search.footage.mot import read_mot


def test_detections_have_scores_and_no_track(boxes):
    found = read_mot(boxes("1,-1,10,20,30.5,40,0.9,-1,-1,-1", "", "3,-1,1,2,3,4,-0.5,-1,-1,-1"))
    assert found.find(0) == [Box(10, 20, 30.5, 40, 0.9, None)]
    assert found.find(1) is None
    assert found.find(2) == [Box(1, 2, 3, 4, -0.5, None)]


def test_results_of_trackers_have_tracks(boxes):
    found = read_mot(boxes("1,2,1,2,3,4,-1,-1,-1,-1", "1,1,1,2,3,4,0,-1,-1,-1", "2,2,1,2,3,4"))
    assert found.find(0) == [Box(1, 2, 3, 4, None, 2), Box(1, 2, 3, 4, 0, 1)]
    assert found.find(1) == [Box(1, 2, 3, 4, None, 2)]


def test_ground_truth_has_flags_and_classes_in_place_of_scores(boxes):
    considered, ignored = "1,1,1,2,3,4,1,1,0.8", "1,2,1,2,3,4,0,1,0.8"
    car, static = "1,3,1,2,3,4,1,3,0.8", "2,4,1,2,3,4,0,7,1"
    found = read_mot(boxes(considered, ignored, car, static))
    assert found.by_frame == {0: [(1, Box(1, 2, 3, 4, None, 1))]}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,1,2,3,4", "5 columns"),
        ("1", "1 column"),
        ("1,1,2,3,x,5", "could not convert string to float: 'x'"),
        ("0,1,2,3,4,5,1", "frame 0"),
        ("1.5,1,2,3,4,5,1", "1.5 is not a whole number"),
        ("1,1,2,3,0,5,1", "a box of 0 x 5 pixels"),
        ("1,1,2,3,nan,5,1", "a number is not finite"),
        ("1,1,2,3,1e308,5,1", "a number is not finite, or has more than 15 digits"),
        ("1,9223372036854775808,2,3,4,5,1", "a number is not finite, or has more than 15 digits"),
        ("1e300,1,2,3,4,5,1", "a number is not finite, or has more than 15 digits"),
        ("1,1,2,3,4,5", "track 1 is in frame 1 twice"),
    ],
)
def test_a_malformed_line_is_named(boxes, line, reason):
    file = boxes("1,1,2,3,4,5", line)
    with pytest.raises(InputError, match=re.escape(f"{file}, line 2: {reason}; ".rstrip("; "))):
        read_mot(file)


def test_boxes_of_another_video_are_noticed(boxes):
    found = read_mot(boxes("1,1,-5,2,20,40", "6,1,100,0,20,40", "6,2,90,0,20,40"))
    found.check_size(101, 50)
    with pytest.raises(InputError, match=r"walk\.txt, line 2: the box is outside the frame of 100"):
        found.check_size(100, 50)
    found.check_length(6)
    with pytest.raises(InputError, match=r"line 2: frame 6 is beyond the 5 frames"):
        found.check_length(5)
    with pytest.raises(InputError, match=r"line 2: frame 6 is beyond the 1 frame of the video"):
        found.check_length(1)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("absent.txt", "bytes.txt"):
        with pytest.raises(InputError, match=rf"boxes .*{name} cannot be read"):
            read_mot(tmp_path / name)
