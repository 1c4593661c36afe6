"""A small trained run, its model, and pictures to search."""

import shutil
from pathlib import Path

import pytest
import torch

import options
from misc.job import Job
from misc.runtime.distributed import Processes
from misc.search.index import Index
from misc.search.person_search import PersonSearch
from tests.command_line import parse
from tests.conftest import SMALL

DEMO = str(options.RECIPES / "demo.yaml")
CALIBRATES = "evaluation.false_alarms=0.01"
CPU = Processes(0, 1, torch.device("cpu"))


def train(folder: Path, *words: str) -> Path:
    """A run of one epoch in a folder."""
    config = parse(["--config", DEMO, *SMALL, *words, "schedule.epoch=1", CALIBRATES]).configure()
    Job(config, "small", CPU).train(folder)
    return folder


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory, places) -> Path:
    """A run of the demo's recipe in miniature, calibrated on its val split."""
    return train(tmp_path_factory.mktemp("runs") / "small", *places)


@pytest.fixture(scope="session")
def people(run_folder) -> PersonSearch:
    return PersonSearch(run_folder, "cpu")


@pytest.fixture
def pictures(tmp_path, pedestrians) -> Path:
    """A folder of 30 pictures, `camN/MMM.jpg`, in two folders."""
    files = sorted(Path(pedestrians.image_root).rglob("*.jpg"))[:30]
    for number, file in enumerate(files):
        target = tmp_path / "pictures" / f"cam{1 + number % 2}" / f"{number:03}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return tmp_path / "pictures"


@pytest.fixture
def index(people, tmp_path, pictures) -> Index:
    """An index of those pictures, with their cameras."""
    index = people.index(tmp_path / "people.index")
    index.add(pictures, camera=r"cam(\d)", workers=0)
    return index
