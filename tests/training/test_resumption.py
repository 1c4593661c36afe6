"""Folders and settings that a run may go on with, and those that it may not."""

import itertools
import json
import shutil
from pathlib import Path

import pytest
import torch

import main
import options
from errors import InputError
from misc.runtime.checkpoint import BEST, LAST, open_checkpoint, save_checkpoint
from misc.runtime.recorder import Recorder
from misc.synthetic.writing import write_dataset
from misc.training.engine import Selection
from tests.command_line import parse
from tests.conftest import SMALL

DEMO = str(options.RECIPES / "demo.yaml")


@pytest.fixture
def train(places, tmp_path, monkeypatch):
    """Run main.py in a folder of its own; the result is the run's folder."""
    monkeypatch.chdir(tmp_path)

    def train(*words: str, output: str = "run") -> Path:
        few = ("schedule.epoch=1", "log.print_period=4", "evaluation.ranked_lists=0")
        arguments = ["--config", DEMO, "--output", output, *SMALL, *places, *few, *words]
        main.run(parse(arguments))
        return tmp_path / output

    return train


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_record_without_checkpoints_is_refused_or_replaced(train):
    folder = train()
    (folder / LAST).unlink()
    (folder / "notes.txt").write_text("mine")
    before = content(folder)
    for words in ((), ("--resume", "auto"), ("--evaluate", f"run/{BEST}")):
        with pytest.raises(InputError, match=r"--output run already contains a run .*--overwrite"):
            train(*words)
        assert content(folder) == before
    with pytest.raises(InputError, match=r"--overwrite would remove .*checkpoint_best.pt"):
        train("--evaluate", f"run/{BEST}", "--overwrite")
    train("schedule.epoch=2", "--overwrite")
    assert open_checkpoint(folder / LAST).epoch == 2
    assert {row["epoch"] for row in rows(folder)} == {1, 2}
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(train, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").touch()
    (folder / "metrics.jsonl").write_text('{"step": 4, "epoch": 1, "loss": 1}\n{"st')
    with pytest.raises(InputError, match="already contains a run"):
        train()
    train("--resume", "auto")
    assert open_checkpoint(folder / LAST).epoch == 1
    assert rows(folder)[0]["loss"] != 1


def test_a_recipe_in_the_run_s_own_folder_is_not_replaced(train, places, tmp_path):
    recipe = tmp_path / "own" / "config.yaml"
    recipe.parent.mkdir()
    recipe.write_text(f"base: {DEMO}\n# mine\n")
    words = ["--config", str(recipe), "--output", "own", *SMALL, *places, "schedule.epoch=1"]
    for way in ([], ["--resume", "auto"], ["--overwrite"]):
        with pytest.raises(InputError, match=r"--config .* lies in --output, .* move it"):
            main.run(parse([*words, *way]))
        assert [*recipe.parent.iterdir()] == [recipe]
    with pytest.raises(InputError, match=r"already contains a run \(config.yaml\)"):
        train("--resume", "auto", output="own")  # nobody knows that it is a run's
    folder = train()
    again = ["--config", str(folder / "config.yaml"), "--output", "run", "schedule.epoch=2"]
    main.run(parse([*again, "--resume", "auto"]))
    assert open_checkpoint(folder / LAST).epoch == 2


def test_a_refused_resumption_changes_nothing(train, tmp_path):
    folder = train("schedule.epoch=2", "log.save_period=4")
    before = content(folder)
    other = write_dataset(
        "cuhk-pedes",
        tmp_path / "other",
        identities={"train": 20, "val": 6, "test": 6},
        images=(2, 3),
        height=(40, 64),
        seed=9,
    )
    places = (f"data.annotation_file={other.processed}", f"data.image_root={other.image_root}")
    for words, key in (
        (places, r"training data \(data.annotation_file|global_batch_size"),
        (("data.batch_size=4",), "data.global_batch_size"),
        (("experiment.ritc=false",), "experiment.ritc was True and is False.*--allow-changes"),
        (("misc.seed=2",), "misc.seed was 0 and is 2; give|misc.seed was 1 and is 2; give"),
        (("experiment.clean_captions=false",), "experiment.clean_captions"),
        (("model.freeze=[visual]",), "model.freeze"),
        (("schedule.lr=1",), "schedule.lr"),
    ):
        with pytest.raises(InputError, match=key):
            train("schedule.epoch=3", *words, "--resume", "auto")
        assert content(folder) == before
    harmless = ("log.print_period=2", "data.num_workers=1", "evaluation.chunk=8")
    train("schedule.epoch=3", *harmless, "schedule.lr=1e-5", "--resume", "auto", "--allow-changes")
    assert "schedule.lr was" in (folder / "log.txt").read_text()
    assert open_checkpoint(folder / LAST).epoch == 3


@pytest.fixture
def scores(monkeypatch) -> None:
    """Each evaluation of the test's trainings has a lower score than the one before."""
    falling = itertools.count(90, -1)
    monkeypatch.setattr(Selection, "score", lambda *_: float(next(falling)))


def test_scores_of_another_split_do_not_compare(train, scores):
    """The first epoch that is scored anew is the best so far, whatever the old score was."""
    folder = train()
    before = content(folder)
    other = ("schedule.epoch=3", "experiment.select_on=test", "--resume", "auto")
    with pytest.raises(InputError, match=r"experiment.select_on was val and is test; .*--allow"):
        train(*other)
    assert content(folder) == before
    train(*other, "--allow-changes")
    assert open_checkpoint(folder / LAST).training.position.best_epoch == 2
    assert open_checkpoint(folder / BEST).epoch == 2
    train("schedule.epoch=4", *other[1:])  # the run goes on with what it has now
    assert open_checkpoint(folder / LAST).training.position.best_epoch == 2


def test_a_split_that_selects_with_other_captions_is_another_one(
    train, scores, pedestrians, tmp_path
):
    folder, processed = train(), tmp_path / "processed"
    shutil.copytree(pedestrians.processed, processed)
    records = json.loads((processed / "val_reid.json").read_text())
    records[0]["captions"][0] += " and a hat"
    (processed / "val_reid.json").write_text(json.dumps(records))
    other = (f"data.annotation_file={processed}", "schedule.epoch=2", "--resume", "auto")
    with pytest.raises(InputError, match=r"the split that selects .* differs from the run's"):
        train(*other)
    train(*other, "--allow-changes")
    assert open_checkpoint(folder / LAST).training.position.best_epoch == 2


def test_a_checkpoint_without_a_description_of_that_split_is_resumed(train, scores):
    folder = train()
    older = torch.load(folder / LAST, weights_only=True)
    del older["data"]["selection"], older["checksum"], older["format"]
    save_checkpoint(older, folder / LAST)
    train("schedule.epoch=2", "--resume", "auto")
    position = open_checkpoint(folder / LAST).training.position
    assert (position.epoch, position.best_epoch, position.best) == (2, 1, 90.0)


def test_damaged_rows_are_kept_aside(train):
    folder = train()
    file = folder / "metrics.jsonl"
    good = rows(folder)
    lines = file.read_bytes().splitlines(keepends=True)
    damaged = b"".join([lines[0], b"\xff\xfe{\n", b'{"no": 1}\n', b"[" * 99999 + b"\n", *lines[1:]])
    file.write_bytes(damaged)
    train("schedule.epoch=2", "--resume", "auto")
    assert (folder / "metrics.jsonl.damaged").read_bytes() == damaged
    assert rows(folder)[: len(good) - 2] == good[:-2]  # the last two closed the run
    assert "3 of" in (folder / "log.txt").read_text()


def test_the_closing_rows_have_the_step_of_the_chosen_epoch(train):
    folder = train("schedule.epoch=3")
    best = open_checkpoint(folder / BEST).epoch
    steps = {row["epoch"]: row["step"] for row in rows(folder) if row.get("split") == "val"}
    closing = [row for row in rows(folder) if "chosen" in row]
    assert {(row["epoch"], row["step"]) for row in closing} == {(best, steps[best])}


def test_the_log_begins_with_the_command_and_the_dataset(train, pedestrians):
    """And that of a resumed run says all of it again."""
    train()
    lines = (train("--resume", "auto") / "log.txt").read_text().splitlines()
    begins = [number for number, line in enumerate(lines) if "  Command: " in line]
    assert begins[0] == 0
    assert len(begins) == 2
    for begin in begins:
        said = [line.split("  ", 1)[1] for line in lines[begin : begin + 5]]
        words = ("Command: ", "Version: clip-person-search ", "Packages: Python ", "Devices: 1 ")
        assert all(line.startswith(word) for line, word in zip(said, words, strict=False))
        assert said[4].startswith("CUHK-PEDES (")
        for split, count in pedestrians.counts.items():
            sizes = f"{count.images} images, {count.identities} identities, {count.captions} capt"
            assert f"{split} {sizes}" in said[4]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["metrics.jsonl", "log.txt"])
def test_a_full_disk_is_a_sentence(train, monkeypatch, name):
    """From the second epoch on, whose rows or lines find no room."""
    folder, tables = train(), Path("/dev/full")
    before = (folder / LAST).read_bytes()
    replace = Recorder._replace_rows

    def fill(self: Recorder, rows: object) -> None:
        replace(self, rows)
        if name == "metrics.jsonl":
            self._metrics.unlink()
            self._metrics.symlink_to(tables)

    monkeypatch.setattr(Recorder, "_replace_rows", fill)
    if name == "log.txt":
        (folder / name).unlink()
        (folder / name).symlink_to(tables)
    with pytest.raises(InputError, match=r"run cannot be written \(No space left on device\)"):
        train("schedule.epoch=2", "--resume", "auto")
    assert (folder / LAST).read_bytes() == before
