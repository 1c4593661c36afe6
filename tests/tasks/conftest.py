"""Small trainings of task both."""

from collections.abc import Callable
from pathlib import Path

import pytest

import main
import options
from misc.synthetic.__main__ import main as draw
from tests.command_line import parse
from tests.conftest import SMALL

DEMO_BOTH = str(options.RECIPES / "demo_both.yaml")
FEW = (
    "model.clip_pretrained=null",
    "data.global_batch_size=8",
    "schedule.epoch=1",
    "log.print_period=1",
    "evaluation.ranked_lists=1",
)


@pytest.fixture(scope="session")
def joint_places(tmp_path_factory) -> tuple[str, ...]:
    """6 people to train on and 4 to test with, in both layouts."""
    folder = tmp_path_factory.mktemp("both")
    people = ["--train", "6", "--val", "0", "--test", "4", "--images", "4", "4"]
    layouts = ["--layout", "cuhk-pedes", "market1501", "--output", str(folder)]
    assert draw([*layouts, *people, "--height", "32", "48"]) == 0
    return (
        f"data.annotation_file={folder}/CUHK-PEDES/processed",
        f"data.image_root={folder}/CUHK-PEDES/imgs",
        f"reid.root={folder}",
    )


@pytest.fixture
def run_joint(joint_places, tmp_path, monkeypatch) -> Callable[..., Path]:
    """Run main.py in a folder of its own; the result is the run's."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, recipe: str = DEMO_BOTH, output: str = "run") -> Path:
        common = (*SMALL, *FEW, *joint_places)
        main.run(parse(["--config", recipe, "--output", output, *common, *words]))
        return tmp_path / output

    return run
