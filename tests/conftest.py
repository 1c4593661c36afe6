"""A small synthetic dataset and the configuration of a small run, for all tests."""

import gc
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several tests run side by side

import options
from misc.runtime.recorder import OURS
from misc.synthetic.writing import WrittenDataset, write_dataset
from misc.training.engine import Engine
from misc.training.trainer import Trainer
from tests.command_line import parse

SMALL = (
    "data.image_size=[32,16]",
    "data.batch_size=8",
    "data.test_batch_size=16",
    "data.num_workers=0",
    "evaluation.false_alarms=null",  # tested in tests/retrieval/test_calibration.py
    "evaluation.ranked_lists=1",  # of 8, whose drawing takes more than all else
    "log.figures=false",  # tested in tests/test_closing.py
    "model.embed_dim=16",
    "experiment.simclr_mlp=[16, 8, 16]",
    "model.vision={width: 32, layers: 1, heads: 2, patch_size: 8}",
    "model.text={width: 32, layers: 1, heads: 2}",
)


def pytest_configure(config: pytest.Config) -> None:
    """Hide the GPUs from tests that are for a CPU, whose programs would take them."""
    if "gpu" not in config.option.markexpr or "not gpu" in config.option.markexpr:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_finish() -> None:
    """Spare the collector what was imported: it looks through all that at each of its turns."""
    gc.freeze()


@pytest.fixture(scope="session")
def pedestrians(tmp_path_factory) -> WrittenDataset:
    """CUHK-PEDES in miniature: 20 training identities, 6 to validate, 6 to test."""
    return write_dataset(
        "cuhk-pedes",
        tmp_path_factory.mktemp("pedestrians"),
        identities={"train": 20, "val": 6, "test": 6},
        images=(2, 3),
        height=(40, 64),
    )


@pytest.fixture(scope="session")
def places(pedestrians) -> tuple[str, str]:
    """The settings that name that dataset on the command line."""
    return (
        f"data.annotation_file={pedestrians.processed}",
        f"data.image_root={pedestrians.image_root}",
    )


@pytest.fixture
def small_config(places) -> Callable[..., options.Config]:
    """The demo recipe with towers of one block on that dataset, and changes to it."""

    def configure(*changes: str) -> options.Config:
        demo = str(Path(options.RECIPES) / "demo.yaml")
        return parse(["--config", demo, *SMALL, *places, *changes]).configure()

    return configure


@pytest.fixture(scope="session", autouse=True)
def unsynced_files():
    """Files need not reach the disk: no test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


class Interruption(Exception):
    """Ends a run in a test."""


@pytest.fixture
def interrupt(monkeypatch) -> Callable[[Callable[[], object], int], None]:
    """Calls a training, and ends it after so many checkpoints."""

    def interrupt(train: Callable[[], object], saves: int) -> None:
        save, count = Engine._save, 0

        def save_and_stop(self: Engine, trainer: Trainer) -> None:
            nonlocal count
            save(self, trainer)
            count += 1
            if count == saves:
                raise Interruption

        with monkeypatch.context() as patch:
            patch.setattr(Engine, "_save", save_and_stop)
            with pytest.raises(Interruption):
                train()

    return interrupt


@pytest.fixture(autouse=True)
def fresh_logging():
    """Each test finds the loggers as an import leaves them."""
    yield
    for name in OURS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
