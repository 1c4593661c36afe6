"""crops.jsonl: written, read again, and malformed."""

import json
from dataclasses import asdict, replace

import pytest

from errors import InputError
from misc.search.footage.records import CropRecord, read_crops, write_crops

TRACKED = CropRecord(
    "walk/000123_7.jpg",
    "walk.mp4",
    3,
    123,
    12.3,
    "2026-01-01 08:00:12.300000",
    (1, 2, 3, 4),
    0.5,
    7,
)
BARE = CropRecord("a b/000000_n0.jpg", "a b.mp4", None, 0, 0.0, None, (0, 0, 9, 9), None, None)


def test_records_are_read_as_they_were_written(tmp_path):
    file = tmp_path / "crops.jsonl"
    write_crops(file, [TRACKED, BARE])
    read = read_crops(file)
    assert read == {tmp_path / TRACKED.path: TRACKED, tmp_path / BARE.path: BARE}
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0] == asdict(TRACKED) | {"box": [1, 2, 3, 4]}
    write_crops(file, [])
    assert read_crops(file) == {}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Invalid JSON"),
        ("{}", "path: Field required"),
        (json.dumps(asdict(BARE) | {"frame": "3"}), "frame: Input should be a valid integer"),
        (json.dumps(asdict(BARE) | {"box": [1, 2, 3]}), "box: 3: Field required"),
        (json.dumps(asdict(BARE) | {"seconds": float("nan")}), "seconds: .* finite number"),
        *(
            (json.dumps(asdict(BARE) | {"path": path}), "path: Input should be a path below this")
            for path in ("", ".", "..", "../1.jpg", "walk/../../1.jpg", "/tmp/1.jpg", "//tmp/1.jpg")
        ),
        *(
            (json.dumps(asdict(BARE) | {name: number}), f"{name}: Input should be ")
            for name in ("camera", "frame", "track")
            for number in (2**63, -(2**63) - 1, 10**30)
        ),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, reason):
    file = tmp_path / "crops.jsonl"
    write_crops(file, [TRACKED])
    with file.open("a") as end:
        end.write(f"{line}\n")
    with pytest.raises(InputError, match=rf"crops\.jsonl, line 2: {reason}"):
        read_crops(file)


def test_names_with_separators_of_text_and_the_largest_numbers_are_read(tmp_path):
    name = "a\u2028b\x85c"
    record = replace(BARE, path=f"{name}/1.jpg", video=f"{name}.mp4", track=2**63 - 1)
    write_crops(tmp_path / "crops.jsonl", [record])
    assert read_crops(tmp_path / "crops.jsonl") == {tmp_path / record.path: record}


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"crops\.jsonl cannot be read"):
        read_crops(tmp_path / "crops.jsonl")
