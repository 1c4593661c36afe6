"""Folders of runs, and those that are none."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import main
from errors import InputError
from misc.export import main as export
from misc.export.model_card import write_card
from misc.export.trained_model import TrainedModel
from misc.job import Chosen, Job
from misc.report.__main__ import main as report
from misc.report.configuration import (
    differences,
    draw_configuration,
    draw_differences,
    group_by_seed,
)
from misc.report.measured import measured
from misc.report.run import Run, read_runs, recipe_setting
from misc.runtime.checkpoint import BEST, LAST, save_checkpoint
from misc.runtime.recorder import Recorder
from misc.settings.sections import Config
from tests.command_line import parse


@pytest.fixture
def copied(run_folder, tmp_path) -> Path:
    """A copy of a run that may be changed."""
    return Path(shutil.copytree(run_folder, tmp_path / "copied"))


def test_a_run_is_read_with_its_results_and_rows(run_folder):
    (run,) = read_runs([run_folder])
    assert (run.name, run.recipe) == ("one", "demo")
    document = json.loads((run_folder / "results.json").read_text())["results"]
    for dataset, directions in document.items():
        for direction, metrics in directions.items():
            assert run.results[dataset][direction]["R1"] == metrics["R1"]["values"][0]
    assert {row["epoch"] for row in run.evaluations("val")} == {1, 2}
    assert run.evaluations("test") == []  # the closing one is none of the training
    assert len(run.steps) >= 2


def test_the_recipe_outlives_the_checkpoints(copied):
    for file in copied.glob("*.pt"):
        file.unlink()
    (run,) = read_runs([copied], needs_checkpoint=False)
    assert (run.checkpoint, run.recipe, run.samples) == (None, "demo", {})
    file = copied / "results.json"
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, "recipe": "irra"}))
    (run,) = read_runs([copied], needs_checkpoint=False)
    assert "Differences from its recipe, irra:" in draw_configuration(run)
    del document["recipe"]  # as earlier versions wrote it
    file.write_text(json.dumps(document))
    (run,) = read_runs([copied], needs_checkpoint=False)
    assert run.recipe is None
    assert run.results


def test_rows_that_are_cut_off_are_left_out(copied):
    before = read_runs([copied])[0].rows
    with (copied / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "loss": 1.0')
    assert read_runs([copied])[0].rows == before


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda run: shutil.rmtree(run), "is not a folder; give the folder of a run"),
        (
            lambda run: (run / "config.yaml").unlink(),
            "is not the folder of a run: it has no config",
        ),
        (lambda run: (run / "config.yaml").write_text("a: 1"), "is not the configuration of a run"),
        (lambda run: (run / "results.json").write_text("[1]"), "results.json is damaged"),
        (
            lambda run: (run / "results.json").write_text('{"checkpoints": 2, "results": {}}'),
            "compares 2 checkpoints; give the folders of their trainings",
        ),
        (lambda run: [file.unlink() for file in run.glob("*.pt")], "give --record-only"),
    ],
)
def test_what_is_no_run_is_refused(copied, spoil, sentence):
    spoil(copied)
    with pytest.raises(InputError, match=sentence):
        read_runs([copied])


def test_runs_of_two_tasks_are_refused_together(run_folder, reid_folder):
    with pytest.raises(InputError, match=r"of task text_to_image and .* of task image_to_image"):
        read_runs([run_folder, reid_folder])
    with pytest.raises(InputError, match="is given twice"):
        read_runs([run_folder, run_folder])


def test_runs_of_one_name_are_told_apart(run_folder, copied):
    other = copied.rename(copied.with_name("one"))
    names = [run.name for run in read_runs([run_folder, other])]
    assert names == [f"{run_folder.parent.name}/one", f"{other.parent.name}/one"]


def test_trials_of_two_sweeps_are_told_apart_by_their_paths(run_folder, tmp_path):
    folders = [tmp_path / sweep / "trials" / "000-seed-0" for sweep in ("a", "b")]
    for folder in folders:
        shutil.copytree(run_folder, folder)
    assert [run.name for run in read_runs(folders)] == [str(folder) for folder in folders]


def test_differences_are_from_the_recipe(run_folder):
    (run,) = read_runs([run_folder])
    name, recipe = recipe_setting(run.recipe)
    assert name == "its recipe, demo"
    found = differences([recipe, run.setting])
    assert found["schedule.epoch"] == [4, 2]
    assert found["model.vision.width"] == [128, 32]
    assert "schedule.lr" not in found
    name, defaults = recipe_setting("a recipe of yesterday")
    assert name.startswith("the defaults")
    assert defaults["data.batch_size"] == 80


def test_runs_that_differ_in_the_seed_alone_are_a_group(run_folder, reseeded_folder, other_folder):
    runs = read_runs([run_folder, other_folder, reseeded_folder])
    groups = group_by_seed(runs)
    assert {name: [run.name for run in own] for name, own in groups.items()} == {
        "one, reseeded": ["one", "reseeded"],
        "other": ["other"],
    }
    same_seed = replace(runs[0], name="again")  # no second draw of chance
    repeated = group_by_seed([runs[0], same_seed])
    assert [len(own) for own in repeated.values()] == [1, 1]


def reseed(run: Run, seed: int) -> Config:
    """The configuration of a run with another seed."""
    return run.config.model_copy(update={"misc": run.config.misc.model_copy(update={"seed": seed})})


def describe(folder: Path, **data: object) -> None:
    """Change the description of the data that a run was trained on."""
    content = torch.load(folder / LAST, weights_only=True)
    content["data"] |= data
    save_checkpoint({key: content[key] for key in content if key != "checksum"}, folder / LAST)


@pytest.mark.parametrize(
    ("changed", "row"),
    [
        ({"samples": 7, "hash": "0" * 64}, "<td>7, hash 000000000000</td>"),
        ({"hash": "0" * 64}, ", hash 000000000000</td>"),
        ({"selection": "0" * 64}, "<td>hash 000000000000</td>"),
    ],
)
def test_runs_on_other_samples_are_no_group(run_folder, reseeded_folder, tmp_path, changed, row):
    other = Path(shutil.copytree(reseeded_folder, tmp_path / "other"))
    describe(other, **changed)
    runs = read_runs([run_folder, other])
    assert [*group_by_seed(runs)] == ["one", "other"]
    assert row in draw_differences(runs)
    unknown = [replace(run, samples={}) for run in runs]
    assert [*group_by_seed(unknown)] == ["one, other"]
    third = replace(unknown[0], name="old", config=reseed(unknown[0], 9))
    assert [*group_by_seed([runs[0], third, runs[1]])] == ["one, old", "other"]


def test_the_batch_is_no_part_of_the_samples(run_folder, reseeded_folder, tmp_path):
    other = Path(shutil.copytree(reseeded_folder, tmp_path / "other"))
    describe(other, batches={"train": 1})
    runs = read_runs([run_folder, other])
    assert [*group_by_seed(runs)] == ["one, other"]
    assert "samples" not in draw_differences(runs)


@pytest.mark.parametrize("line", [("rate: 0.0", "rate: 0.5"), ("market1501", "folder")])
def test_samples_that_the_seed_draws_make_no_difference(run_folder, tmp_path, line):
    """Injected noise, and the people of a folder that train."""
    folders = [Path(shutil.copytree(run_folder, tmp_path / name)) for name in ("a", "b")]
    for number, folder in enumerate(folders):
        describe(folder, hash=f"{number}" * 64)
        text = (folder / "config.yaml").read_text()
        assert line[0] in text
        changed = text.replace(*line).replace("seed: 0", f"seed: {number}")
        (folder / "config.yaml").write_text(changed)
    assert [*group_by_seed(read_runs(folders))] == ["a, b"]


def test_overrides_make_no_runs_alike(run_folder, reseeded_folder, tmp_path, places, capsys):
    """They say where data lies now; what a run was trained with stays as it was."""
    moved = shutil.copytree(reseeded_folder, tmp_path / "moved")
    config = (moved / "config.yaml").read_text()
    for place in places:
        config = config.replace(place.partition("=")[2], str(tmp_path / "gone"))
    (moved / "config.yaml").write_text(config)
    for overrides in ((), places, (*places, "misc.seed=5")):
        groups = group_by_seed(read_runs([run_folder, reseeded_folder, moved], overrides))
        assert [*groups] == ["one, reseeded", "moved"]
    assert report([str(run_folder), str(moved), "--markdown", *places]) == 0
    table = capsys.readouterr().out
    for name in ("one", "moved"):
        assert f"| {name} | CUHK-PEDES test | text to image |" in table
    assert "±" not in table
    (run,) = read_runs([moved], places)
    with measured(run, "cpu") as found:
        assert [test.name for test in found.tests] == ["CUHK-PEDES test"]


def test_a_run_shows_what_it_was_trained_with(run_folder, tmp_path):
    pages = []
    for overrides in ([], ["schedule.lr=3"]):
        file = tmp_path / "report.html"
        assert report([str(run_folder), "--output", str(file), "--record-only", *overrides]) == 0
        pages.append(file.read_text(encoding="utf-8"))
    assert "schedule.lr</td>" in pages[0]
    assert pages[1] == pages[0]


def test_a_run_that_goes_on_has_no_results_of_the_model_before(copied, interrupt):
    again = ["--resume", "auto", "--output", str(copied)]
    files = [copied / "results.md", copied / "results.json"]
    was = [file.read_text() for file in files]

    def closing_fails(job: Job, recorder: Recorder, chosen: Chosen) -> None:
        raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:  # evaluated again, and killed meanwhile
        patch.setattr(Job, "_conclude", closing_fails)
        with pytest.raises(InterruptedError):
            main.run(parse(again))
    assert [file.read_text() for file in files] == was
    interrupt(lambda: main.run(parse([*again, "schedule.epoch=4"])), saves=1)
    assert not any(file.exists() for file in files)
    (run,) = read_runs([copied])
    assert run.results == {}
    assert run.checkpoint.file.name == BEST
    card = copied / "card"
    card.mkdir()
    write_card(TrainedModel.open(copied), card, "torch", "a model")
    assert "None are recorded beside the checkpoint." in (card / "README.md").read_text()


def test_the_card_of_an_exported_run_has_its_results(run_folder, tmp_path):
    folder = tmp_path / "exported"
    assert export([str(run_folder), str(folder), "--format", "huggingface"]) == 0
    card = (folder / "README.md").read_text()
    assert (run_folder / "results.md").read_text().rstrip() in card
    assert "| Evaluated on | CUHK-PEDES test |" in card
    (run,) = read_runs([run_folder])
    recall = run.results["CUHK-PEDES test"]["text to image"]["R1"]
    assert f"| CUHK-PEDES test | text to image | {recall:.2f} |" in card
    last = shutil.copytree(run_folder, tmp_path / "run") / LAST  # not the one that was evaluated
    write_card(TrainedModel.open(last), folder, "huggingface", "a model")
    assert "None are recorded beside the checkpoint." in (folder / "README.md").read_text()
