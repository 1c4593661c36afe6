"""Pairs without identities, in JSON lines: read, checked and joined, each when it is asked for."""

import json
import os
import pickle

import pytest
from PIL import Image

from errors import InputError
from misc.data.text import CaptionDataset, TextAugmentation
from misc.data.transforms import TrainTransform
from misc.datasets.check_text import check_text
from misc.datasets.json_lines import BLOCK, LONGEST, JsonLines
from misc.datasets.pairs import ListedAndPairs, Pairs, count_samples
from misc.datasets.text_annotations import TextPicture
from misc.datasets.text_person import TextPersonDataset, join_training, read_text_person
from text_utils.augment import random_deletion

NUMBER = 7


def pair(number: int, **changes: object) -> dict[str, object]:
    captions = [f"caption {number}.{n}" for n in range(1 + number % 3)]
    return {"file_path": f"web/{number}.png", "captions": captions, **changes}


@pytest.fixture
def folder(tmp_path):
    """Images of the pairs; the file is written by each test."""
    (tmp_path / "images/web").mkdir(parents=True)
    for number in range(NUMBER):
        Image.new("RGB", (4, 8)).save(tmp_path / f"images/web/{number}.png")
    return tmp_path


def write(folder, *lines: object, name: str = "pairs.jsonl", end: str = "\n"):
    file = folder / name
    words = [
        line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines
    ]
    file.write_text("\n".join(words) + end, encoding="utf-8")
    return file


def read(folder, *lines: object, **settings: bool) -> TextPersonDataset:
    return read_text_person(str(write(folder, *lines)), str(folder / "images"), **settings)


def whole(folder) -> list[dict[str, object]]:
    return [pair(number) for number in range(NUMBER)]


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n", "\n\r\n\n"])
def test_lines_are_records_however_the_file_ends(tmp_path, end):
    file = write(tmp_path, pair(0), pair(1, captions=["穿红衣服的人"]), pair(2), end=end)
    lines = JsonLines(file)
    assert [fields for _, fields in lines] == [
        pair(0),
        pair(1, captions=["穿红衣服的人"]),
        pair(2),
    ]
    assert lines[2][0] == f"{file}, line 3"
    assert lines[-1] == lines[2]
    assert lines[:2] == [lines[0], lines[1]]
    with pytest.raises(IndexError):
        lines[3]


def test_lines_across_the_blocks_that_are_read_at_once(monkeypatch, tmp_path):
    expected = JsonLines(write(tmp_path, *map(pair, range(20))))
    for block in (1, 2, 7, 64, 100):
        monkeypatch.setattr("misc.datasets.json_lines.BLOCK", block)
        lines = JsonLines(expected.file)
        assert (lines.starts == expected.starts).all()
        assert lines.hash == expected.hash
    assert BLOCK > 100


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps(pair(0)) + "\n" + json.dumps(pair(1)), encoding="utf-8-sig")
    assert [fields["file_path"] for _, fields in JsonLines(file)] == ["web/0.png", "web/1.png"]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([""], "lists no images"),
        ([pair(0), "", pair(1)], "line 2 is empty; remove it"),
        ([pair(0), "x" * (LONGEST + 1)], "line 2 has more than 1,048,576 bytes"),
        (["<html>"], "line 1: not valid JSON"),
        ([[pair(0)]], "line 1: not a record"),
        ([pair(0), '{"file_path": "web/1.png", "cap'], "line 2: not valid JSON"),
        ([pair(0, captions=[])], r"line 1 \(web/0.png\): `captions` is not a list of sentences"),
        ([pair(0, file_path=None)], "line 1: no `file_path`"),
        ([pair(0, id=3)], "line 1: JSON lines are pairs to train on, without `id`"),
        ([pair(0, split="test")], "line 1: JSON lines are pairs .* no `split` but train"),
        ([pair(99)], "data.image_root: none of the annotated images"),
    ],
)
def test_faults_that_are_found_at_the_start(folder, lines, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        read(folder, *lines)
    assert "\n" not in str(caught.value)


def test_languages_are_refused(folder):
    file = write(folder, pair(0))
    with pytest.raises(InputError, match=r"data\.languages: .*pairs\.jsonl is a single file"):
        read_text_person(str(file), str(folder / "images"), ["en"])


def test_images_are_read_with_full_paths_and_identities_of_their_own(folder, caplog):
    caplog.set_level("INFO")
    pairs = read(folder, *whole(folder)).splits["train"]
    assert isinstance(pairs, Pairs)
    for number, picture in enumerate(pairs):
        assert picture == TextPicture(
            str(folder / f"images/web/{number}.png"),
            number,
            tuple(pair(number)["captions"]),
            (None,) * (1 + number % 3),
        )
    assert "train 7 images without identities" in caplog.text
    assert [*pickle.loads(pickle.dumps(pairs))] == [*pairs]  # for workers that are spawned


def test_a_fault_is_reported_with_its_line_when_it_is_met(monkeypatch, folder):
    monkeypatch.setattr("misc.datasets.text_person.FIRST", 2)
    lines = whole(folder)
    lines[3:6] = ['{"file_path": 3', pair(4, id=4), pair(5, captions="")]
    pairs = read(folder, *lines).splits["train"]
    assert pairs[2].identity == 2
    for number, sentence in ((3, "not valid JSON"), (4, "without `id`")):
        with pytest.raises(InputError, match=f"pairs.jsonl, line {number + 1}: .*{sentence}"):
            pairs[number]


def test_an_image_outside_is_refused_when_it_is_met(monkeypatch, folder):
    monkeypatch.setattr("misc.datasets.text_person.FIRST", 1)
    Image.new("RGB", (4, 8)).save(folder / "secret.png")
    os.symlink(folder / "secret.png", folder / "images/web/link.png")
    strays = [pair(1, file_path="../secret.png"), pair(2, file_path="web/link.png")]
    dataset = read(folder, pair(0), *strays, pair(3))
    pairs = dataset.splits["train"]
    for number in (1, 2):
        with pytest.raises(InputError, match=rf"line {number + 1}: .*secret\.png\) lies outside"):
            pairs[number]
    assert pairs[3].path.endswith("web/3.png")
    allowed = read(folder, pair(0), *strays, allow_outside=True).splits["train"]
    assert allowed[1].path == str(folder / "images/../secret.png")


def test_a_file_that_is_gone_is_an_error(folder):
    pairs = read(folder, *whole(folder)).splits["train"]
    pairs.lines.file.unlink()
    with pytest.raises(InputError, match=r"pairs\.jsonl does not exist"):
        pairs[0]


def test_pairs_come_after_the_images_of_other_datasets(folder):
    listed = [TextPicture(f"{n}.jpg", 9 - n % 2, ("a", "b"), (None, None)) for n in range(4)]
    other = TextPersonDataset("other", {"train": listed})
    pairs = read(folder, *whole(folder))
    joined = join_training([pairs, other, pairs])
    assert isinstance(joined, ListedAndPairs)
    assert [picture.identity for picture in joined] == [0, 1, 0, 1, *range(4, 4 + 2 * NUMBER)]
    assert [picture.path for picture in joined[:5]] == [
        *(picture.path for picture in listed),
        str(folder / "images/web/0.png"),
    ]
    assert joined[4 + NUMBER].path == joined[4].path
    assert count_samples(joined).tolist() == [2] * 4 + [1] * 2 * NUMBER


def test_the_captions_of_a_pair_take_turns(folder):
    listed = TextPersonDataset(
        "other", {"train": [TextPicture("gone", 0, ("a", "b"), (None, None))]}
    )
    joined = join_training([listed, read(folder, *whole(folder))])
    keep = TextAugmentation(0.0, random_deletion, strength=0.0, clean=False)
    dataset = CaptionDataset([joined], TrainTransform((8, 4), "clip"), keep)
    assert len(dataset) == 2 + NUMBER
    assert [one.captions for one in dataset.described(1)] == [("a", "b")]
    for number in range(NUMBER):
        index, captions = 2 + number, pair(number)["captions"]
        heard = [dataset[epoch, index].caption for epoch in range(len(captions))]
        assert sorted(heard) == captions
        assert dataset[0, index].identity == 1 + number
        assert dataset[len(captions), index].caption == heard[0]
    first = {dataset[0, 2 + number].caption[-1] for number in range(NUMBER)}
    assert len(first) > 1  # not the first of all in one epoch, the second of all in the next


def test_the_check_reads_every_line(folder):
    file = write(folder, *whole(folder), pair(50), pair(0))
    report = check_text(file, folder / "images")
    assert report.counts["train"].pictures == NUMBER + 2
    assert {finding.kind for finding in report.findings} == {
        "missing_picture",
        "repeated_picture",
        "repeated_caption",
    }
