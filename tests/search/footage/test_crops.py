"""Crops: the frames that are looked at, the pixels that are cut, and the crops that are kept."""

import time
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image, ImageFilter

from misc.search.footage.box import Box
from misc.search.footage.crops import Choice, Crop, Cut, cut_crops, keep_best
from misc.search.footage.mot import read_mot
from misc.search.footage.sharpness import sharpness
from misc.search.footage.video import open_video
from tests.search.footage.conftest import SIZE, encode, level, shade


class Everywhere:
    """A detector that finds the same boxes in every picture."""

    def __init__(self, *boxes: Box) -> None:
        self.boxes = list(boxes)

    def detect(self, picture: Image.Image) -> list[Box]:
        assert picture.size == SIZE
        return self.boxes


WHOLE = Everywhere(Box(0, 0, *SIZE, score=0.9))


@pytest.mark.parametrize(
    ("every", "frames"),
    [("0", range(20)), ("0.1", range(20)), ("0.3", range(0, 20, 3)), ("1", [0, 10]), ("5", [0])],
)
def test_frames_are_looked_at_every_so_many_seconds(video, tmp_path, every, frames):
    cut = cut_crops(open_video(video()), WHOLE, Choice(every=Fraction(every)), tmp_path)
    assert [crop.frame for crop in cut.crops] == list(frames)
    assert cut.num_frames == 20
    for crop in cut.crops:
        assert level(crop.file) == pytest.approx(shade(crop.frame), abs=3)
        assert crop.seconds == pytest.approx(crop.frame / 10)


def test_given_boxes_choose_among_the_frames_that_have_some(video, boxes, tmp_path):
    lines = [f"{frame},1,0,0,100,90" for frame in (4, 5, 12, 13, 14)]
    found = read_mot(boxes(*lines))
    cut = cut_crops(open_video(video()), found, Choice(), tmp_path)
    assert [crop.file.name for crop in cut.crops] == ["000003_1.jpg", "000011_1.jpg"]
    assert [round(level(crop.file)) for crop in cut.crops] == [
        pytest.approx(shade(3), abs=3),
        pytest.approx(shade(11), abs=3),
    ]


def test_boxes_are_enlarged_and_clipped(tmp_path):
    ramp = np.zeros((*SIZE[::-1], 3), np.uint8) + np.arange(SIZE[0], dtype=np.uint8)[None, :, None]
    file = encode(tmp_path / "ramp.mp4", [Image.fromarray(ramp)], [0])
    people = Everywhere(Box(40, 20, 20, 60), Box(100, -10, 40, 100))
    cut = cut_crops(open_video(file), people, Choice(margin=0.1), tmp_path)
    assert [crop.region for crop in cut.crops] == [(38, 14, 62, 86), (96, 0, 128, 96)]
    assert level(cut.crops[0].file) == pytest.approx(np.mean(range(38, 62)), abs=2)
    with Image.open(cut.crops[1].file) as picture:
        assert picture.size == (32, 96)
    assert [crop.file.name for crop in cut.crops] == ["000000_n0.jpg", "000000_n1.jpg"]


def test_low_uncertain_and_blurred_crops_are_dropped(video, tmp_path):
    people = Everywhere(
        Box(0, 0, 50, 80, 0.7), Box(0, 0, 50, 47, 0.9), Box(-60, 0, 50, 80, 0.9), Box(0, 0, 50, 48)
    )
    first = open_video(video(num_frames=1))
    choice = Choice(margin=0, threshold=0.8)
    cut = cut_crops(first, people, choice, tmp_path)
    assert [crop.region for crop in cut.crops] == [(0, 0, 50, 48)]
    assert str(cut) == (
        "1 frame read, 4 boxes, 1 crop kept; dropped: 1 with a score below 0.8, 2 lower than 48 "
        "pixels"
    )
    sharp = cut_crops(first, WHOLE, Choice(min_sharpness=5.0), tmp_path)  # a grey picture
    assert sharp.crops == []
    assert sharp.dropped == {"with a sharpness below 5": 1}


def test_the_best_crops_of_a_track_are_kept(boxes, tmp_path):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8))
    pictures = [noise.filter(ImageFilter.GaussianBlur(radius)) for radius in (4, 1, 8, 2)]
    file = encode(tmp_path / "walk.mp4", pictures, range(4))
    lines = [f"{frame},{track},0,0,90,90" for frame in range(1, 5) for track in (1, -1)]
    choice = Choice(every=Fraction(0), per_track=2)
    folder = tmp_path / "crops"
    folder.mkdir()
    cut = cut_crops(open_video(file), read_mot(boxes(*lines)), choice, folder)
    kept = ["000000_n1.jpg", "000001_1.jpg", "000001_n1.jpg", "000002_n1.jpg", "000003_1.jpg"]
    assert sorted(file.name for file in folder.iterdir()) == [*kept, "000003_n1.jpg"]
    assert sorted(crop.file.name for crop in cut.crops) == [*kept, "000003_n1.jpg"]
    assert cut.dropped == {"beyond the best 2 of a track": 2}
    kept = [crop.frame for crop in cut.crops]
    assert kept == sorted(kept)


def test_a_video_of_many_crops_is_thinned_out_quickly(tmp_path):
    files = [tmp_path / f"{number}.jpg" for number in range(6000)]
    for file in files:
        file.touch()
    box = Box(0, 0, 9, 9, track=1)
    crops = [Crop(f, n, Fraction(0), box, (0, 0, 9, 9), n % 97) for n, f in enumerate(files)]
    cut = Cut(crops)
    start = time.process_time()
    keep_best(cut, 10)
    assert time.process_time() - start < 2  # to remove one after the other took 6 s
    assert len(cut.crops) == len([*tmp_path.iterdir()]) == 10
    assert {crop.quality for crop in cut.crops} == {96}


def test_counts_of_one_are_singular():
    assert str(Cut(num_frames=1, num_boxes=1)) == "1 frame read, 1 box, 0 crops kept"


def test_sharpness_is_the_variance_of_the_laplacian():
    grey = np.random.default_rng(0).integers(0, 256, (7, 5), dtype=np.uint8)
    slow = [
        sum(float(grey[y + dy, x + dx]) for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)))
        - 4 * float(grey[y, x])
        for y in range(1, 6)
        for x in range(1, 4)
    ]
    assert sharpness(Image.fromarray(grey)) == pytest.approx(np.var(slow))
    assert sharpness(Image.new("RGB", (2, 9))) == 0.0
