"""Composed queries: ITCPR's files, and one sentence for each mistake in them."""

import json
from pathlib import Path

import pytest
from PIL import Image

from errors import InputError
from misc.datasets.composed import read_composed

QUERY = {"file_path": "a/1.jpg", "person_id": 1, "instance_id": 7, "caption": "in a red coat"}
TARGET = {"file_path": "a/2.jpg", "person_id": 1, "instance_id": 7}
OTHER = {"file_path": "b/3.jpg", "person_id": 2, "instance_id": -1}


def write(folder: Path, queries: object, gallery: object) -> Path:
    for name in ("a/1.jpg", "a/2.jpg", "b/3.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 8)).save(folder / name)
    (folder / "query.json").write_text(json.dumps(queries))
    (folder / "gallery.json").write_text(json.dumps(gallery))
    return folder


def test_itcpr_is_a_test_split(tmp_path):
    splits = read_composed(write(tmp_path, [QUERY], [TARGET, OTHER]))
    assert list(splits) == ["test"]
    (query,) = splits["test"].queries
    assert (query.path, query.text, query.instance) == (
        str(tmp_path / "a/1.jpg"),
        "in a red coat",
        7,
    )
    assert [(picture.path, picture.instance) for picture in splits["test"].gallery] == [
        (str(tmp_path / "a/2.jpg"), 7),
        (str(tmp_path / "b/3.jpg"), -1),
    ]


def test_splits_have_their_own_gallery(tmp_path):
    train = [{**record, "split": "train"} for record in (QUERY, TARGET, OTHER)]
    splits = read_composed(write(tmp_path, [train[0], QUERY], [*train[1:], TARGET]))
    assert {name: len(split.gallery) for name, split in splits.items()} == {"train": 2, "test": 1}


@pytest.mark.parametrize(
    ("queries", "gallery", "reason"),
    [
        ([QUERY | {"split": "dev"}], [TARGET], "record 0: split is 'dev', expected one of train"),
        ([QUERY], [TARGET | {"split": None}], "gallery.json, record 0: split is None"),
        ([QUERY], [OTHER], "query.json, record 0: no picture of its split .* instance_id, 7"),
        ([QUERY], [TARGET | {"split": "val"}], "record 0: no picture of its split"),
        ([QUERY], [TARGET, OTHER | {"file_path": "no.jpg"}], "1 of 3 pictures do not .*no.jpg"),
        ([QUERY | {"file_path": "a"}], [TARGET], "1 of 2 pictures do not exist"),
        ([QUERY], [TARGET | {"file_path": "../a.jpg"}], "1 of the pictures lie outside"),
        ([QUERY | {"file_path": 3}], [TARGET], "record 0: no `file_path`"),
        ([QUERY | {"instance_id": -1}], [OTHER], "`instance_id` is -1; .* at least 0"),
        ([QUERY], [TARGET | {"instance_id": "7"}], "`instance_id` is '7'"),
        ([QUERY], [TARGET | {"instance_id": True}], "`instance_id` is True"),
        ([QUERY | {"caption": " "}], [TARGET], "record 0: no `caption`"),
        ([QUERY | {"caption": ["red"]}], [TARGET], "record 0: no `caption`"),
        ([], [TARGET], "query.json is not a list of records"),
        ([QUERY], {"pictures": [TARGET]}, "gallery.json is not a list of records"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, queries, gallery, reason):
    Image.new("RGB", (4, 8)).save(tmp_path / "a.jpg")
    folder = write(tmp_path / "data", queries, gallery)
    with pytest.raises(InputError, match=reason) as raised:
        read_composed(folder)
    assert "\n" not in str(raised.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"query.json cannot be read \(No such file"):
        read_composed(tmp_path)
    (write(tmp_path, [QUERY], [TARGET]) / "gallery.json").write_text("[{")
    with pytest.raises(InputError, match=r"gallery.json is not valid JSON \("):
        read_composed(tmp_path)
