"""The check of text datasets: planted faults."""

import shutil

import pytest

from misc.datasets.check_text import CODE, check_text
from misc.datasets.finding import EXAMPLES
from misc.synthetic.writing import write_dataset
from tests.datasets.own_records import records


def found(report) -> dict[str, int]:
    return {finding.kind: finding.number for finding in report.findings}


def test_a_clean_dataset_is_clean(dataset):
    report = check_text(*dataset(records()))
    assert report.findings == ()
    assert report.remarks == ()
    assert report.dataset is None
    assert report.counts["train"].pictures == 2
    assert str(report).endswith("No problems found")


def test_a_synthetic_cuhk_has_other_counts_than_the_published(tmp_path):
    written = write_dataset(
        "cuhk-pedes", tmp_path, identities={"train": 3, "test": 2}, height=(40, 48)
    )
    report = check_text(written.annotation_file, written.root)
    assert report.dataset == "CUHK-PEDES"
    assert "3 identities (11,003)" in report.remarks[0]
    assert not {"missing_folder", "missing_picture", "unreadable_picture"} & found(report).keys()


@pytest.mark.parametrize("workers", [1, 2])
def test_pictures_at_fault_are_found_whatever_the_workers(dataset, workers):
    content = records()
    content += [
        {
            "split": "test",
            "file_path": f"{folder}/{name}",
            "id": 9,
            "captions": [f"{folder} {name}"],
        }
        for folder, name in [
            ("c/x", "1.png"),
            ("c/y", "2.png"),
            ("a", "gone.png"),
            ("a", "cut.png"),
            ("b", "text.png"),
        ]
    ]
    file, root = dataset(content)
    shutil.rmtree(root / "c")
    (root / "a/gone.png").unlink()
    (root / "a/cut.png").write_bytes((root / "a/0.png").read_bytes()[:45])
    (root / "b/text.png").write_text("<html>")
    report = check_text(file, root, workers=workers)
    assert found(report) == {"missing_folder": 2, "missing_picture": 1, "unreadable_picture": 2}
    examples = {finding.kind: finding.examples for finding in report.findings}
    assert examples["missing_folder"] == (f"{root / 'c'}: 2 images",)
    assert examples["missing_picture"] == (f"{file}, record 6: a/gone.png",)
    assert [line.split(":")[0] for line in examples["unreadable_picture"]] == [
        f"{file}, record 7",
        f"{file}, record 8",
    ]


@pytest.mark.parametrize("caption", ["", "  ", " ... "])
def test_empty_captions_are_found(dataset, caption):
    report = check_text(*dataset(records({"captions": ["a man", caption]})))
    assert found(report) == {"empty_caption": 1}
    assert "record 0, caption 1: " in report.findings[0].examples[0]


def test_a_caption_in_another_script_than_most_is_found(dataset):
    report = check_text(*dataset(records({}, {"captions": ["一个穿红色外套的男人"]})))
    assert found(report) == {"other_script": 1}
    assert "record 1, caption 0: '一个" in report.findings[0].examples[0]

    texts = ["红色外套的男人", "白色鞋子", "黑色 T 恤", "a man"]
    chinese = check_text(*dataset(records(*({"captions": [text]} for text in texts))))
    assert found(chinese) == {"other_script": 1}
    assert "record 3" in chinese.findings[0].examples[0]


@pytest.mark.parametrize(
    "text",
    [
        "a <b>man</b>",
        "a man&nbsp;in red",
        "see http://example.org",
        "def wears(): return",
        "image_path of a man",
        "captions = ['a man']",
        "a man \\n in red",
        'console.log("a man");',
    ],
)
def test_code_fragments_are_found(dataset, text):
    assert found(check_text(*dataset(records({"captions": [text]})))) == {"code_fragment": 1}


@pytest.mark.parametrize(
    "text",
    [
        "A man (about 30), in a T-shirt; he's tall & slim.",
        "white/black shoes, 3/4 trousers, a 'no.1' print",
        "The woman is wearing a shirt(red).Her hair is long; dark.",
        "less than 1.5m, e.g. a child < 10 years",
    ],
)
def test_ordinary_punctuation_is_no_code(text):
    assert CODE.search(text) is None


def test_a_caption_of_several_identities_of_a_split_is_found(dataset):
    same = {"captions": ["A man in black."]}
    other = {"captions": ["a man in  black"]}
    report = check_text(*dataset(records(same, other, same)))
    assert found(report) == {"repeated_caption": 1}, "in another split it is no fault"
    example = report.findings[0].examples[0]
    assert example.startswith("'a man in black': 2 identities, ")
    assert "record 0, caption 0 and " in example
    assert found(check_text(*dataset(records({**same, "id": 1}, other)))) == {}, (
        "one and the same person"
    )


def test_a_picture_listed_twice_is_found_once(dataset):
    report = check_text(*dataset(records({}, {"file_path": "a/../a/0.png"})))
    assert found(report) == {"repeated_picture": 1}
    assert "record 1: a/../a/0.png, as in " in report.findings[0].examples[0]


def test_an_identity_in_two_splits_is_found(dataset):
    report = check_text(*dataset(records({}, {}, {"id": 1})))
    assert found(report) == {"identity_in_two_splits": 1}
    example = report.findings[0].examples[0]
    assert example.startswith("identity 1: ")
    assert "record 1 (train) and " in example
    assert example.endswith("record 2 (test)")


def test_splits_that_are_numbered_apart_are_a_remark(dataset):
    report = check_text(*dataset(records({}, {}, {"id": 0}, {"id": 1})))
    assert report.findings == ()
    assert len(report.remarks) == 1
    assert "treated as different people" in report.remarks[0]


def test_identities_are_compared_as_they_were_written(dataset):
    """Training identities are renumbered for training: 7 and 8 become 0 and 1, and are not."""
    report = check_text(*dataset(records({"id": 7}, {"id": 8}, {"id": 0}, {"id": 1})))
    assert report.findings == ()
    assert report.remarks == ()


def test_only_the_first_examples_are_shown(dataset):
    captions = [""] * (EXAMPLES + 3)
    report = check_text(*dataset(records({"captions": ["a man", *captions]})))
    assert found(report) == {"empty_caption": EXAMPLES + 3}
    assert len(report.findings[0].examples) == EXAMPLES
    assert str(report).endswith("  and 3 more")
