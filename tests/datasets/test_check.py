import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import options
from errors import InputError
from misc.datasets.check import CODE, check, main
from misc.datasets.finding import EXAMPLES
from misc.synthetic.writing import WrittenDataset, write_dataset
from tests import ROOT


def records(*changes: dict[str, object]) -> list[dict[str, object]]:
    """A clean dataset of one's own: a picture of each of four people, one in each folder."""
    clean = [
        {"split": split, "file_path": f"{folder}/{number}.png", "id": number, "captions": [text]}
        for number, (split, folder, text) in enumerate(
            [
                ("train", "a", "A man in a red coat."),
                ("train", "b", "A woman with a bag."),
                ("test", "a", "A boy in blue jeans (torn)."),
                ("test", "b", "A girl, black & white shoes; a hat."),
            ]
        )
    ]
    return [{**record, **change} for record, change in zip(clean, changes, strict=False)] + clean[
        len(changes) :
    ]


@pytest.fixture
def dataset(tmp_path):
    """Writes the records and a picture of each; returns the annotation file and the image root."""

    def write(content: list[dict[str, object]], name: str = "mine.json") -> tuple[Path, Path]:
        file, root = tmp_path / name, tmp_path / "pictures"
        file.write_text(json.dumps(content), encoding="utf-8")
        for record in content:
            picture = root / str(record["file_path"])
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 8)).save(picture)
        return file, root

    return write


def found(report) -> dict[str, int]:
    return {finding.kind: finding.number for finding in report.findings}


def test_a_clean_dataset_is_clean(dataset):
    report = check(*dataset(records()))
    assert report.findings == ()
    assert report.remarks == ()
    assert report.dataset is None
    assert report.counts["train"].pictures == 2
    assert "Nothing is wrong." in str(report)


def test_a_synthetic_cuhk_has_other_counts_than_the_published(tmp_path):
    written = write_dataset(
        "cuhk-pedes", tmp_path, identities={"train": 3, "test": 2}, height=(40, 48)
    )
    report = check(written.annotation_file, written.root)
    assert report.dataset == "CUHK-PEDES"
    assert "train: 3 identities, 11003 published" in report.remarks
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
    report = check(file, root, workers)
    assert found(report) == {"missing_folder": 2, "missing_picture": 1, "unreadable_picture": 2}
    examples = {finding.kind: finding.examples for finding in report.findings}
    assert examples["missing_folder"] == (f"{root / 'c'}: 2 pictures",)
    assert examples["missing_picture"] == (f"{file}, record 6: a/gone.png",)
    assert [line.split(":")[0] for line in examples["unreadable_picture"]] == [
        f"{file}, record 7",
        f"{file}, record 8",
    ]


@pytest.mark.parametrize("caption", ["", "  ", " ... "])
def test_empty_captions_are_found(dataset, caption):
    report = check(*dataset(records({"captions": ["a man", caption]})))
    assert found(report) == {"empty_caption": 1}
    assert "record 0, caption 1: " in report.findings[0].examples[0]


def test_a_caption_in_another_script_than_most_is_found(dataset):
    report = check(*dataset(records({}, {"captions": ["一个穿红色外套的男人"]})))
    assert found(report) == {"other_script": 1}
    assert "record 1, caption 0: '一个" in report.findings[0].examples[0]

    texts = ["红色外套的男人", "白色鞋子", "黑色 T 恤", "a man"]
    chinese = check(*dataset(records(*({"captions": [text]} for text in texts))))
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
    assert found(check(*dataset(records({"captions": [text]})))) == {"code_fragment": 1}


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
    report = check(*dataset(records(same, other, same)))
    assert found(report) == {"repeated_caption": 1}, "in another split it is no fault"
    example = report.findings[0].examples[0]
    assert example.startswith("'a man in black': 2 identities, ")
    assert "record 0, caption 0 and " in example
    assert found(check(*dataset(records({**same, "id": 1}, other)))) == {}, (
        "one and the same person"
    )


def test_a_picture_listed_twice_is_found_once(dataset):
    report = check(*dataset(records({}, {"file_path": "a/../a/0.png"})))
    assert found(report) == {"repeated_picture": 1}
    assert "record 1: a/../a/0.png, as in " in report.findings[0].examples[0]


def test_an_identity_in_two_splits_is_found(dataset):
    report = check(*dataset(records({}, {}, {"id": 1})))
    assert found(report) == {"identity_in_two_splits": 1}
    example = report.findings[0].examples[0]
    assert example.startswith("identity 1: ")
    assert "record 1 (train) and " in example
    assert example.endswith("record 2 (test)")


def test_splits_that_are_numbered_apart_are_a_remark(dataset):
    report = check(*dataset(records({}, {}, {"id": 0}, {"id": 1})))
    assert report.findings == ()
    assert len(report.remarks) == 1
    assert "taken for different people" in report.remarks[0]


def test_identities_are_compared_as_they_were_written(dataset):
    """Training identities are renumbered for training: 7 and 8 become 0 and 1, and are not."""
    report = check(*dataset(records({"id": 7}, {"id": 8}, {"id": 0}, {"id": 1})))
    assert report.findings == ()
    assert report.remarks == ()


def test_only_the_first_examples_are_shown(dataset):
    captions = [""] * (EXAMPLES + 3)
    report = check(*dataset(records({"captions": ["a man", *captions]})))
    assert found(report) == {"empty_caption": EXAMPLES + 3}
    assert len(report.findings[0].examples) == EXAMPLES
    assert str(report).endswith("  and 3 more")


def words(file: Path, root: Path) -> list[str]:
    return [f"data.annotation_file={file}", f"data.image_root={root}"]


def test_every_dataset_of_a_recipe_is_checked(dataset, tmp_path, capsys):
    file, root = dataset(records({"captions": [""]}))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"base: {options.RECIPES / 'config.yaml'}\n"
        f"data: {{annotation_file: {file}, image_root: {root},"
        f" test_sets: [{{name: other, annotation_file: {tmp_path / 'other.json'},"
        f" image_root: {root}}}]}}\n"
    )
    (tmp_path / "other.json").write_text(file.read_text())
    assert main(["--config", str(recipe)]) == 1
    assert capsys.readouterr().out.count("Empty captions: 1") == 2


def test_the_exit_status_and_the_json_tell_what_was_found(dataset, tmp_path, capsys):
    file, root = dataset(records())
    arguments = [*words(file, root), "--json", str(tmp_path / "report.json")]
    assert main(arguments) == 0
    assert json.loads((tmp_path / "report.json").read_text())[f"{file}, {root}"]["findings"] == []

    dataset(records({"captions": [""]}))
    assert main(arguments) == 1
    report = json.loads((tmp_path / "report.json").read_text())[f"{file}, {root}"]
    assert report["findings"][0]["kind"] == "empty_caption"
    assert report["counts"]["test"] == {"pictures": 2, "captions": 2, "identities": 2}
    assert "Empty captions: 1" in capsys.readouterr().out


def test_bad_input_is_one_sentence(dataset, tmp_path, capsys):
    file, root = dataset(records())
    assert main([]) == 2
    assert main(words(tmp_path / "absent.json", root)) == 2
    assert main(words(file, tmp_path / "nowhere")) == 2
    assert main([*words(file, root), "--workers", "0"]) == 2
    assert main([*words(file, root), "--json", str(tmp_path)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 5
    assert all(line.startswith("error: ") for line in errors)
    with pytest.raises(InputError):
        check(file, tmp_path / "nowhere")


def test_a_language_of_a_folder_is_checked_alone(dataset, tmp_path, capsys):
    texts = ["红色外套的男人", "白色鞋子", "黑色裤子", "a man"]
    folder = tmp_path / "captions"
    folder.mkdir()
    dataset(records(), "captions/train_reid_en.json")
    _, root = dataset(
        records(*({"captions": [text]} for text in texts)), "captions/train_reid_ch.json"
    )
    assert found(check(folder, root, language="en")) == {}
    assert found(check(folder, root, language="ch")) == {"other_script": 1}
    assert main([*words(folder, root), "data.languages=[en, ch]"]) == 1
    assert "train_reid_ch.json, record 3, caption 0: 'a man'" in capsys.readouterr().out


def test_the_command_runs(pedestrians: WrittenDataset):
    command = [sys.executable, "-m", "misc.datasets.check"]
    done = subprocess.run(
        [*command, *words(pedestrians.annotation_file, pedestrians.image_root)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    assert f"{pedestrians.image_root}: CUHK-PEDES\ntrain   " in done.stdout
    assert done.stderr == "", "a bar is for terminals"
