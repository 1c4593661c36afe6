import json
import os
from pathlib import Path

import pytest

from errors import InputError
from misc.datasets.text_annotations import has_identities, read_annotations, read_records
from misc.synthetic.writing import write_dataset


def record(**changes: object) -> dict[str, object]:
    return {
        "split": "train",
        "captions": ["a man", "a tall man"],
        "file_path": "cam_a/1.png",
        "id": 7,
        **changes,
    }


def without(*names: str) -> dict[str, object]:
    return {name: value for name, value in record().items() if name not in names}


@pytest.fixture
def write(tmp_path):
    def write(content: object, name: str = "reid_raw.json") -> Path:
        file = tmp_path / name
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return file

    return write


@pytest.mark.parametrize("layout", ["cuhk-pedes", "icfg-pedes", "rstpreid", "ufine6926"])
def test_every_layout_is_read(tmp_path, layout):
    written = write_dataset(layout, tmp_path, identities={"train": 3, "test": 2}, height=(40, 48))
    for source in (written.annotation_file, written.processed):
        splits = read_annotations(source)
        assert splits.keys() == written.counts.keys()
        for split, pictures in splits.items():
            assert len(pictures) == written.counts[split].images
            assert sum(len(p.captions) for p in pictures) == written.counts[split].captions
            assert all((written.image_root / p.path).is_file() for p in pictures)


def test_identities_are_as_written(write):
    ids = [9, 4, 9, 2]
    records = [record(id=i) for i in ids] + [record(split="test", id=i) for i in ids]
    for pictures in read_annotations(write(records)).values():
        assert [p.identity for p in pictures] == ids


def test_identities_may_be_written_as_strings(write):
    assert read_annotations(write([record(split="test", id="12")]))["test"][0].identity == 12


def test_only_ascii_digits_are_numbers(write):
    names = [
        "1_12",
        "11_2",
        "\uff11\uff11\uff12",
        "+112",
        "-112",
        " 112",
        "\u00b2",
        "9" * 19,
        "9" * 5000,
    ]
    records = read_records(write([record(id=i) for i in [*names, "0112", "112", 112, -3]]))
    assert [r.person for r in records] == [*names, 112, 112, 112, -3]
    assert len({r.picture.identity for r in records}) == len(names) + 2


def test_names_are_numbered_in_their_order_after_the_numbers(write):
    ids = ["zoë", 7, "安娜", "anna", "7", "zoë", 9.0]
    records = read_records(write([record(id=i) for i in ids]))
    assert [r.person for r in records] == ["zoë", 7, "安娜", "anna", 7, "zoë", 9]
    assert [r.picture.identity for r in records] == [11, 7, 12, 10, 7, 11, 9]


def test_a_name_has_one_number_in_all_splits(write, tmp_path):
    for split, ids in (("train", ["bob", "anna"]), ("test", ["anna", "carl"])):
        write([{**record(id=i), "split": split} for i in ids], f"{split}_reid.json")
    splits = read_annotations(tmp_path)
    assert [[p.identity for p in pictures] for pictures in splits.values()] == [[1, 0], [0, 2]]


@pytest.mark.parametrize(
    ("back", "paired"),
    [
        (["x", "y"], ("x", "y")),
        (["x"], ("x", None)),
        (["x", "y", "z"], ("x", "y")),
        (["", None], (None, None)),
        (None, (None, None)),
    ],
)
def test_back_translations_are_paired_by_position(write, back, paired):
    picture = read_annotations(write([record(captions_bt=back)]))["train"][0]
    assert picture.back_translations == paired


def test_a_folder_of_splits_is_read(write, tmp_path):
    for split in ("train", "test"):
        records = [{k: v for k, v in record().items() if k != "split"}]
        write(records, f"{split}_reid.json")
    assert list(read_annotations(tmp_path)) == ["train", "test"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("<html>", "is not valid JSON"),
        ({"a": 1}, "is not a list of records"),
        ([], "lists no images"),
        ([record(), record(split="training")], "record 1: split is 'training'"),
        ([record(file_path=None)], "record 0: no `file_path`"),
        ([record(captions=[])], "`captions` is not a list of sentences"),
        ([record(captions=[3])], "`captions` is not a list of sentences"),
        ([record(captions_bt="x")], "`captions_bt` is not a list"),
        ([record(id="")], "record 0: `id` is ''; give a number or a name"),
        ([record(), record(id=[7])], r"record 1: `id` is \[7\]; give a number or a name"),
        ([record(id=7.5)], "`id` is 7.5"),
        ([record(id=True)], "`id` is True"),
        ([record(id=10**18)], "`id` has more than 18 digits; write it as a name"),
        ([record(id=-1e300)], "`id` has more than 18 digits"),
        ([record(), without("id")], "record 1: `id` is None"),
        ([without("split"), record()], "record 0: split is None"),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence(write, content, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        read_annotations(write(content))
    assert "reid_raw.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fields_that_no_record_has_are_made_up(write):
    """Each image is an identity of its own, and all train."""
    pairs = read_records(write([without("id", "split")] * 3))
    assert [(r.split, r.person, r.picture.identity) for r in pairs] == [
        ("train", number, number) for number in range(3)
    ]
    assert not has_identities(pairs)
    tested = read_records(write([{**without("id"), "split": "test"}] * 2))
    assert [(r.split, r.picture.identity) for r in tested] == [("test", 0), ("test", 1)]
    named = read_records(write([without("split")] * 2))
    assert [(r.split, r.picture.identity) for r in named] == [("train", 7)] * 2
    assert has_identities(named)


def test_records_in_a_folder_need_identities(write, tmp_path):
    write([without("id")], "train_reid.json")
    with pytest.raises(InputError, match="record 0: `id` is None"):
        read_records(tmp_path)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.json does not exist"):
        read_annotations(tmp_path / "nowhere.json")
    with pytest.raises(InputError, match=r"has no train_reid\.json"):
        read_annotations(tmp_path)


def test_a_language_of_a_folder_is_read(write, tmp_path):
    for language, caption in (("en", "a man"), ("ch", "一个男人")):
        write([record(captions=[caption])], f"train_reid_{language}.json")
    for language, caption in (("en", "a man"), ("ch", "一个男人")):
        assert read_records(tmp_path, language)[0].picture.captions == (caption,)
    write([record(captions=["plain"])], "train_reid.json")
    assert [r.picture.captions for r in read_records(tmp_path)] == [("plain",)]


def test_a_language_that_is_not_there_is_refused(write, tmp_path):
    with pytest.raises(InputError, match=r"no train_reid_fr\.json.*languages found: none"):
        read_records(tmp_path, "fr")
    write([record()], "train_reid_en.json")
    write([record()], "test_reid_ch.json")
    with pytest.raises(InputError, match=r"data\.languages: .*languages found: ch, en"):
        read_records(tmp_path, "fr")
    with pytest.raises(InputError, match=r"data\.languages: .*by language only \(ch, en\)"):
        read_records(tmp_path)


def test_a_single_file_has_no_languages(write, tmp_path):
    file = write([record()])
    with pytest.raises(InputError, match=r"data\.languages: .*reid_raw\.json is a single file"):
        read_records(file, "en")
    with pytest.raises(InputError, match=r"nowhere\.json does not exist"):
        read_records(tmp_path / "nowhere.json", "en")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * 200_000, "is not valid JSON \\(maximum recursion"),
        ('[{"id": ' + "9" * 5000 + "}]", "is not valid JSON \\(Exceeds the limit"),
        ('[{"id": 1, "id": 2}]', "is not valid JSON \\(a record has 'id' twice\\)"),
        ('[{"split": "train"', "is not valid JSON"),
    ],
)
def test_json_that_cannot_be_taken_as_it_is(write, content, reason):
    with pytest.raises(InputError, match=rf"reid_raw\.json {reason}"):
        read_records(write(content))


def test_a_byte_order_mark_is_no_part_of_the_content(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps([record()]), encoding="utf-8-sig")
    assert len(read_records(file)) == 1
    file.write_text(json.dumps([record()]), encoding="utf-16")
    with pytest.raises(InputError, match="is not valid JSON"):
        read_records(file)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": 1.7}, "`id` is 1.7; give a number or a name"),
        ({"id": float("nan")}, "`id` is nan"),
        ({"id": float("inf")}, "`id` is inf"),
        ({"id": 1e30}, "`id` has more than 18 digits"),
        ({"id": None}, "`id` is None"),
        ({"id": [1]}, r"`id` is \[1\]"),
        ({"id": "\ud800"}, r"`id` is '\\ud800'; give a valid name"),
        ({"split": ["train"]}, r"split is \['train'\], expected one of"),
        ({"split": "x" * 10**6}, r"split is 'xxxxxxxxxxxx\.\.\.xxxxxxxxxxxxx', expected"),
        ({"file_path": "a\0b.png"}, r"no file can have the name 'a\\x00b.png'"),
        ({"file_path": "\udfff.png"}, "no file can have the name"),
        ({"file_path": "x" * 300}, "no file can have the name"),
        ({"file_path": "x/" * 2000}, "no file can have the name"),
        ({"captions": ["a " * 6000]}, "a caption has 12,000 characters; shorten it to 10,000"),
        ({"captions": "x" * 10**7}, "a caption has 10,000,000 characters"),
        ({"captions_bt": ["x" * 10**5]}, "a caption has 100,000 characters"),
    ],
)
def test_fields_that_no_dataset_has(write, change, reason):
    with pytest.raises(InputError, match=rf"record 1.*{reason}") as caught:
        read_records(write([record(), record(**change)]))
    assert len(str(caught.value)) < 500


def test_a_whole_number_is_an_id_however_it_is_written(write):
    assert [r.person for r in read_records(write([record(id=1.0), record(id=-0.0)]))] == [1, 0]


def test_a_record_whose_split_is_not_that_of_its_file_is_refused(write, tmp_path):
    write([record(split="train"), record()], "train_reid.json")
    write([{k: v for k, v in record().items() if k != "split"}], "val_reid.json")
    assert [r.split for r in read_records(tmp_path)] == ["train", "train", "val"]
    write([record(split="test")], "val_reid.json")
    with pytest.raises(InputError, match="record 0: split is 'test' in a file of the val split"):
        read_records(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path):
    for name in ("pipe.json", "pipe.csv"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InputError, match=rf"{name} is a pipe or device"):
            read_records(tmp_path / name)
