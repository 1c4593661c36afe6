"""The benchmark of footage: the table, by a model that knows some people."""

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.footage import DEMO, Described, draw_stills, to_table

STILLS = Described([Path("a"), Path("b")], [0, 1], ["a", "a"], [0, 0])
CROPS = Described([Path("b"), Path("a")], [0, 1], ["a", "b", "b", "b"], [0, 1, 1, 0])


class Reader:
    """Encodes a picture by its name and a caption by its words."""

    def encode_images(self, files: list[Path]) -> Tensor:
        return self.encode_texts([file.name for file in files])

    def encode_texts(self, captions: list[str]) -> Tensor:
        return torch.tensor([[caption == "a", caption == "b"] for caption in captions]).float()


def test_the_table_has_the_difference_to_the_stills():
    lines = to_table(Reader(), STILLS, {0.0: CROPS}).splitlines()
    assert lines[0] == "| | 2 captions of the stills | 4 captions of the video |"
    assert lines[2] == "| 2 stills | 100.00 | 75.00 |"
    assert lines[3] == "| 2 crops, margin 0.0 | 0.00 (-100.00) | 25.00 (-50.00) |"


def test_stills_are_those_of_the_demo(tmp_path):
    drawn = draw_stills(tmp_path, [1701])
    assert drawn.file_ids == [1701] * 3
    assert all(file.is_file() for file in drawn.files)
    assert drawn.caption_ids == [1701] * 6
    assert next(identity for split, identity in DEMO.owners() if split == "test") == 1701
