"""The folder of a run."""

from pathlib import Path

import pytest
import torch

from errors import InputError
from misc.runtime.checkpoint import LAST, Checkpoint, _stamp, save_checkpoint
from misc.runtime.distributed import Processes
from misc.runtime.run_folder import (
    RUNS,
    find_run_to_resume,
    held_folder,
    left_nothing,
    new_folder,
)
from tests.ranks import run_ranks

ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.mark.parametrize(
    ("recipe", "beginning"),
    [
        ("demo", "demo-2"),
        ("tbps_clip-simplified", "tbps_clip-simplified-2"),
        ("../../elsewhere", "elsewhere-2"),
        ("/etc/passwd", "etc-passwd-2"),
        ("..", "2"),
        ("a/b\0c\nd", "a-b-c-d-2"),
        ("x" * 300, "x" * 100 + "-2"),
        ("行人", "行人-2"),
        ("my recipe", "my-recipe-2"),
        ("x[1]", "x-1-2"),
        ("a**b", "a-b-2"),
    ],
)
def test_any_recipe_names_a_folder_in_runs(tmp_path, monkeypatch, recipe, beginning):
    """A checkpoint of somebody else's may name its recipe as it likes."""
    monkeypatch.chdir(tmp_path)
    folder = new_folder(recipe, ALONE)
    assert folder.is_dir()
    assert folder.parent == RUNS
    assert folder.name.lstrip("-").startswith(beginning)
    assert [*Path(tmp_path).iterdir()] == [tmp_path / "runs"]
    assert find_run_to_resume(None, recipe) is None
    (folder / LAST).touch()
    assert find_run_to_resume(None, recipe) == folder / LAST


def test_a_run_of_another_recipe_is_not_resumed(tmp_path, monkeypatch):
    """Although its name begins likewise."""
    monkeypatch.chdir(tmp_path)
    for recipe in ("demo-2", "demo-20260101-120000"):
        (new_folder(recipe, ALONE) / LAST).touch()
    assert find_run_to_resume(None, "demo") is None
    own = new_folder("demo", ALONE)
    (own / LAST).touch()
    assert find_run_to_resume(None, "demo") == own / LAST


@pytest.mark.parametrize(
    "name",
    [
        *("calibration.json", "ranked_lists", "log.txt", "events.out.tfevents.1.host.2.0"),
        *("results.md", "config.yaml", "cmc.png", "checkpoint_last.pt", "wandb"),
    ],
)
def test_any_file_of_a_run_is_a_record(tmp_path, name):
    (tmp_path / name).touch()
    with (
        pytest.raises(InputError, match=rf"already contains a run \({name}\)"),
        held_folder(tmp_path, ALONE),
    ):
        pass
    assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (("log.txt",), True),
        (("log.txt", "metrics.jsonl", "config.yaml", "checkpoint_last.pt.partial"), True),
        (("config.yaml",), False),  # a run has metrics.jsonl before
        (("metrics.jsonl", "calibration.json"), False),
        (("metrics.jsonl", "ranked_lists"), False),
    ],
)
def test_what_a_run_has_left_before_its_first_checkpoint_is_nothing(tmp_path, names, left):
    for name in names:
        (tmp_path / name).touch()
    assert left_nothing(tmp_path) == left


def test_a_checkpoint_that_has_changed_since_it_was_read_is_not_resumed(tmp_path):
    """As by a run that held the folder until now."""
    file = tmp_path / LAST
    save_checkpoint({"model": {}}, file)
    checkpoint = Checkpoint(file, {}, None, "demo", stamp=_stamp(file))
    with held_folder(tmp_path, ALONE, resumed=checkpoint):
        pass
    save_checkpoint({"model": {}}, file)
    with (
        pytest.raises(InputError, match=r"has changed since it was read.* give the command again"),
        held_folder(tmp_path, ALONE, resumed=checkpoint),
    ):
        pass


def change_and_hold(own: Processes, folder: Path) -> str:
    """The second process has read a checkpoint that was replaced before the first one read it."""
    file = folder / LAST
    stamp = (1, 2) if own.rank == 1 else _stamp(file)
    try:
        with held_folder(folder, own, resumed=Checkpoint(file, {}, None, "demo", stamp=stamp)):
            return "held"
    except InputError as error:
        return str(error)


def test_all_processes_refuse_what_one_has_read_otherwise(tmp_path):
    (tmp_path / LAST).touch()
    first, second = run_ranks(change_and_hold, 2, tmp_path, tmp_path)
    assert "has changed since it was read" in first
    assert first == second


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len({new_folder("demo", ALONE) for _ in range(3)}) == 3
