"""Every place at which this project writes, on a disk that has no room for all of it."""

import json
import os
from random import Random

import numpy as np
import pytest
from PIL import Image

from errors import InputError
from misc.runtime.picture_writing import write_picture
from misc.runtime.recorder import Recorder
from misc.runtime.tracking import Tracking
from misc.search.table import METADATA, PictureTable
from tests.fuzz.full_disks import OTHERS, WHOLE, file_size_limit, refusal, try_point

WIDTH = 64


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("point", [*WHOLE, *OTHERS])
def test_a_full_disk_ends_in_a_sentence_and_loses_nothing(point, tmp_path):
    try_point(point, Random(1), tmp_path)


def test_a_picture_that_does_not_fit_is_noticed(tmp_path):
    """Pillow's own `save` leaves its beginning, and says nothing."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    write_picture(tmp_path / "whole.jpg", Image.fromarray(noise), quality=90)
    size = (tmp_path / "whole.jpg").stat().st_size
    with file_size_limit(size - 1), pytest.raises(OSError, match="File too large"):
        write_picture(tmp_path / "cut.jpg", Image.fromarray(noise), quality=90)
    with pytest.raises(ValueError, match=r"unknown file extension: \.jqg"):
        write_picture(tmp_path / "picture.jqg", Image.fromarray(noise))


def add(table: PictureTable, first: int, last: int) -> None:
    rows = [
        {**dict.fromkeys(METADATA.names), "path": f"{number}.jpg"} for number in range(first, last)
    ]
    table.add(rows, np.eye(WIDTH, dtype=np.float32)[first:last])


@pytest.mark.parametrize("missing", [1, 100, 1000])
def test_a_commit_whose_end_does_not_fit_is_undone(tmp_path, missing):
    """Lance commits a file that is cut short, and the table could not be read any more."""
    table = PictureTable.create(str(tmp_path / "index"), WIDTH, half=False, about="{}")
    add(table, 0, 8)
    (file,) = (tmp_path / "index" / "pictures.lance" / "data").iterdir()
    room = file.stat().st_size - missing
    sentence = r"index cannot be written .*: make room, .* what it held before is whole"
    with file_size_limit(room), pytest.raises(InputError, match=sentence):
        add(table, 8, 16)
    opened = PictureTable(str(tmp_path / "index"))
    assert opened.metadata().keys() == {f"{number}.jpg" for number in range(8)}
    add(opened, 8, 16)
    with file_size_limit(room + 8 * WIDTH), pytest.raises(InputError, match=sentence):
        opened.compact()
    assert sum(len(rows) for rows, _ in PictureTable(str(tmp_path / "index")).features()) == 16


def test_the_description_of_an_index_outlives_a_full_disk(tmp_path):
    table = PictureTable.create(str(tmp_path / "index"), WIDTH, half=False, about="{}")
    for room in range(0, 6000, 150):
        text = os.urandom(3000).hex()
        with file_size_limit(room):
            try:
                table.about = text
            except InputError as error:
                assert "make room" in str(error)  # noqa: PT017
                text = "{}"
        assert PictureTable(str(tmp_path / "index")).about == text
        table.about = "{}"


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_curves_that_do_not_fit_end_in_a_sentence_alone(tmp_path):
    row = {"step": 1, **{f"loss_{number}": 0.5 for number in range(50)}}

    def write() -> None:
        with Recorder(tmp_path / "run", tracking=Tracking(("tensorboard",))) as recorder:
            recorder.write(row)

    assert "cannot be written (File too large): make room" in refusal(1500, write)
    written = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert written == {**row, "seconds": written["seconds"]}
