"""The folder of a run."""

from pathlib import Path

import pytest
import torch

from misc.runtime.distributed import Processes
from misc.runtime.run_folder import RUNS, new_folder

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


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len({new_folder("demo", ALONE) for _ in range(3)}) == 3
