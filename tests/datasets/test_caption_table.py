"""Tables of captions: their columns and spellings, and how people are found and divided."""

import logging
from collections import defaultdict
from pathlib import Path

import pytest

from errors import InputError
from misc.datasets.check_text import check_text
from misc.datasets.text_annotations import read_annotations, read_records

TABLE = """path,caption,id,split
anna/1.jpg,"A woman in a red coat, with a bag.",anna,train
anna/1.jpg,A tall woman.,anna,train
b/2.jpg,"A man who says ""no"".",7,val

c/3.jpg,一个男人。,陈伟,test
"""


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes, name: str = "captions.csv") -> Path:
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write


def people(count: int, images: int = 2) -> str:
    rows = [f"person {p}/{i}.jpg,a man" for p in range(count) for i in range(images)]
    return "\n".join(["path,caption", *rows])


def test_rows_of_an_image_are_its_captions(write):
    records = read_records(write(TABLE))
    assert [(r.split, r.person, r.picture.path, r.picture.captions) for r in records] == [
        (
            "train",
            "anna",
            "anna/1.jpg",
            ("A woman in a red coat, with a bag.", "A tall woman."),
        ),
        ("val", 7, "b/2.jpg", ('A man who says "no".',)),
        ("test", "陈伟", "c/3.jpg", ("一个男人。",)),
    ]
    assert [r.location.rpartition(", ")[2] for r in records] == ["line 2", "line 4", "line 6"]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\xef\xbb\xbf" + TABLE.encode(), "captions.csv"),
        (TABLE.replace("\n", "\r\n"), "Captions.CSV"),
        (TABLE.replace("path,caption,id,split", " Path , CAPTION,id,split "), "captions.csv"),
        (
            "split;id;note;caption;path\n"
            "train;anna;;A woman in a red coat, with a bag.;anna/1.jpg\n"
            "train;anna;x;A tall woman.;anna/1.jpg\n"
            'val;7;;"A man who says ""no"".";b/2.jpg\n'
            "test;陈伟;;一个男人。;c/3.jpg\n",
            "captions.csv",
        ),
        (
            "path\tcaption\tid\tsplit\n"
            "anna/1.jpg\tA woman in a red coat, with a bag.\tanna\ttrain\n"
            "anna/1.jpg\tA tall woman.\tanna\ttrain\n"
            'b/2.jpg\t"A man who says ""no""."\t7\tval\n'
            "c/3.jpg\t一个男人。\t陈伟\ttest\n",
            "captions.tsv",
        ),
    ],
    ids=["byte order mark", "line ends", "header", "semicolons", "tabs"],
)
def test_every_spelling_is_the_same_table(write, content, name):
    assert read_annotations(write(content, name)) == read_annotations(write(TABLE, "plain.csv"))


def test_without_ids_each_folder_is_a_person(write, caplog):
    caplog.set_level(logging.INFO)
    records = read_records(write(people(4)))
    assert [r.person for r in records] == [f"person {p}" for p in range(4) for _ in range(2)]
    assert "captions.csv has no column id: each folder is a person" in caplog.text


@pytest.mark.parametrize(
    "paths",
    [
        ("1.jpg", "2.jpg", "3.jpg"),
        ("all/1.jpg", "all/2.jpg", "all/3.jpg"),
        ("a/1.jpg", "a/2.jpg", "3.jpg"),
        ("x/a/1.jpg", "y/a/2.jpg", "y/a/3.jpg"),
    ],
)
def test_without_folders_of_people_each_image_is_a_person(write, paths, caplog):
    caplog.set_level(logging.INFO)
    table = "path,caption\n" + "".join(f"{path},a man\n" for path in (*paths, paths[0]))
    assert [r.person for r in read_records(write(table))] == [*paths]
    assert "each image is a person of its own" in caplog.text


def test_one_person_is_in_one_split_however_the_number_is_written(write):
    rows = [f"{name}.jpg,a man,{name}" for n in range(40) for name in (f"{n}", f"{n:04}")]
    splits = defaultdict(set)
    for record in read_records(write("\n".join(["path,caption,id", *rows]))):
        splits[record.person].add(record.split)
    assert len(splits) == 40
    assert all(len(of_person) == 1 for of_person in splits.values())
    assert {split for of in splits.values() for split in of} == {"train", "val", "test"}


@pytest.mark.parametrize(("count", "tenth"), [(3, 1), (20, 2), (57, 5)])
def test_without_splits_a_tenth_of_the_people_test(write, count, tenth, caplog):
    caplog.set_level(logging.INFO)
    table = people(count)
    splits = defaultdict(set)
    for record in read_records(write(table)):
        splits[record.person].add(record.split)
    assert all(len(of_person) == 1 for of_person in splits.values())
    numbers = [sum(of == {split} for of in splits.values()) for split in ("train", "val", "test")]
    assert numbers == [count - 2 * tenth, tenth, tenth]
    assert caplog.text.count("has no column split") == 1

    header, *rows = table.splitlines()
    again = read_records(write("\n".join([header, *reversed(rows)])))
    assert {r.person: {r.split} for r in again} == splits


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "lists no images"),
        ("path,caption\n", "lists no images"),
        (
            "file,text\na,b\n",
            r"line 1: no column 'path' in the header \(file, text\); needed: path",
        ),
        ('"file\nname",caption\na,b\n', r"line 1: no column 'path' .* \(file name, caption\)"),
        ("path,text\na,b\n", "line 1: no column 'caption'.*optional: id, split"),
        ("path,path,caption\na,b,c\n", "line 1: two columns 'path'"),
        (
            "path,caption\na.jpg,a man, tall\n",
            "line 2: 3 cells, but the header has 2; put",
        ),
        ("path,caption\n\na.jpg,\n", "line 3: caption is empty"),
        ("path,caption\n,a man\n", "line 2: path is empty"),
        ("path,caption\na.jpg,'a'\nb.jpg,\"a man\n\n", "line 3: .*end of data"),
        (b"path,caption\na.jpg,Mot\xf6rhead\n", "line 2: not UTF-8"),
        (
            "path,caption,id\na.jpg,x,1\nb.jpg,x,1\na.jpg,y,2\n",
            "line 4: id of a.jpg is '2', but '1' in line 2",
        ),
        ("path,caption,split\na.jpg,x,train\na.jpg,y,test\n", "line 3: split of a.jpg is 'test'"),
        ("path,caption,split\na.jpg,x,training\n", "line 2: split is 'training'"),
        ("path,caption,id,split\na.jpg,x,,train\n", "line 2: `id` is ''"),
        ("path,caption\na.jpg,x\nb.jpg,y\n", "2 people cannot be divided .*; add a column split"),
        ("path,caption\na.jpg,x\n", "1 person cannot be divided"),
        ("path,caption\na.jpg\n", "line 2: 1 cell, but the header has 2"),
    ],
)
def test_a_wrong_table_is_refused_in_a_sentence(write, content, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        read_records(write(content))
    assert "captions.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"captions\.csv does not exist"):
        read_records(tmp_path / "captions.csv")


def test_the_check_keeps_names_and_lines(write, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text("no image")
    table = "path,caption,id,split\na.png,a man,anna,train\nb.png,a man,bob,train\n"
    report = check_text(write(table + "b.png,{x},bob,train\nc.png,a boy,anna,test\n"), tmp_path)
    found = {finding.kind: finding.examples for finding in report.findings}
    assert found["identity_in_two_splits"][0].startswith("identity anna: ")
    assert "captions.csv, line 2, caption 0" in found["repeated_caption"][0]
    assert "captions.csv, line 3, caption 1" in found["code_fragment"][0]
    assert found["missing_picture"][0].endswith("captions.csv, line 5: c.png")
