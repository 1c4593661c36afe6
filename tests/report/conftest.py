"""Small trained runs to report on, and their page."""

import shutil
from pathlib import Path

import pytest
import torch

import options
from misc.job import Job
from misc.report.__main__ import main
from misc.runtime.distributed import Processes
from misc.synthetic.__main__ import main as draw
from misc.synthetic.writing import write_reid_dataset
from tests.command_line import parse
from tests.conftest import SMALL

CPU = Processes(0, 1, torch.device("cpu"))


def train(folder: Path, recipe: str, *words: str) -> Path:
    """A run of a recipe in miniature."""
    config = parse(["--config", str(options.RECIPES / recipe), *SMALL, *words]).configure()
    Job(config, Path(recipe).stem, CPU).train(folder)
    return folder


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory, places) -> Path:
    """Two epochs of the demo's recipe."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    return train(folder, "demo.yaml", *places, "schedule.epoch=2", "log.print_period=1")


@pytest.fixture(scope="session")
def other_folder(run_folder, places) -> Path:
    """One epoch of it, from another seed."""
    return train(run_folder.with_name("other"), "demo.yaml", *places, "misc.seed=3")


@pytest.fixture(scope="session")
def reseeded_folder(run_folder) -> Path:
    """The first run under another seed: a copy."""
    folder = run_folder.with_name("reseeded")
    shutil.copytree(run_folder, folder)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("seed: 0", "seed: 7"))
    return folder


@pytest.fixture(scope="session")
def reid_folder(tmp_path_factory) -> Path:
    """A run of CLIP-ReID on drawn people."""
    folder = tmp_path_factory.mktemp("reid")
    people = {"train": 4, "test": 3}
    write_reid_dataset("market1501", folder, identities=people, images=(4, 5), height=(32, 48))
    words = (
        "model.clip_pretrained=null",
        "data.global_batch_size=8",
        f"reid.root={folder}",
        "stages.prompts.schedule={epoch: 1, epoch_warmup: 0, lr: 1e-2}",
        "stages.images.schedule={epoch: 1, epoch_warmup: 0, milestones: [], lr: 1e-3}",
    )
    return train(folder / "run", "clipreid_vit.yaml", *words)


@pytest.fixture(scope="session")
def both_folder(tmp_path_factory) -> Path:
    """A run of both tasks on drawn people."""
    folder = tmp_path_factory.mktemp("both")
    people = ["--train", "4", "--val", "0", "--test", "3", "--images", "4", "4"]
    layouts = ["--layout", "cuhk-pedes", "market1501", "--output", str(folder)]
    assert draw([*layouts, *people, "--height", "32", "48"]) == 0
    words = (
        "model.clip_pretrained=null",
        "data.global_batch_size=8",
        f"data.annotation_file={folder}/CUHK-PEDES/processed",
        f"data.image_root={folder}/CUHK-PEDES/imgs",
        f"reid.root={folder}",
        "schedule.epoch=1",
    )
    return train(folder / "run", "demo_both.yaml", *words)


@pytest.fixture(scope="session")
def page(run_folder, reseeded_folder, other_folder) -> Path:
    """The page of three runs, two of which differ in the seed alone."""
    file = run_folder.with_name("report.html")
    runs = [str(folder) for folder in (run_folder, reseeded_folder, other_folder)]
    assert main([*runs, "--output", str(file), "--device", "cpu"]) == 0
    return file
