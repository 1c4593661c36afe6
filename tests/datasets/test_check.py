"""The command line of the check, over text datasets."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import options
from errors import InputError
from misc.datasets.check import main
from misc.datasets.check_text import check_text
from misc.synthetic.writing import WrittenDataset
from tests import ROOT
from tests.datasets.own_records import records


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


def test_the_annotations_are_kept(dataset, capsys):
    file, root = dataset(records())
    before = file.read_bytes()
    assert main([*words(file, root), "--json", str(file)]) == 2
    assert f"{file} exists and is not an earlier report" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_bad_input_is_one_sentence(dataset, tmp_path, capsys):
    file, root = dataset(records())
    assert main([]) == 2
    assert main(words(tmp_path / "absent.json", root)) == 2
    assert main(words(file, tmp_path / "nowhere")) == 2
    assert main([*words(file, root), "--workers", "0"]) == 2
    for place in (str(tmp_path), ".", ""):
        assert main([*words(file, root), "--json", place]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 7
    assert all(line.startswith("error: ") for line in errors)
    with pytest.raises(InputError):
        check_text(file, tmp_path / "nowhere")


def test_a_language_of_a_folder_is_checked_alone(dataset, tmp_path, capsys):
    texts = ["红色外套的男人", "白色鞋子", "黑色裤子", "a man"]
    folder = tmp_path / "captions"
    folder.mkdir()
    dataset(records(*[{"split": "train"}] * 4), "captions/train_reid_en.json")
    chinese = records(*({"split": "train", "captions": [text]} for text in texts))
    _, root = dataset(chinese, "captions/train_reid_ch.json")
    assert check_text(folder, root, language="en").findings == ()
    (finding,) = check_text(folder, root, language="ch").findings
    assert (finding.kind, finding.number) == ("other_script", 1)
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
