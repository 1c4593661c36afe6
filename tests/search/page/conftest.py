"""A small index, served in this process for all tests of the page."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import main
import options
from misc.calibration import Calibration, QueryCalibration, Scores
from misc.search.index import Index
from misc.search.person_search import PersonSearch
from tests.command_line import parse
from tests.conftest import SMALL

pytest.importorskip("gradio", reason="Gradio is not installed (requirements-page.txt)")
THRESHOLD = 0.9


@pytest.fixture(scope="session")
def index(pedestrians, places, tmp_path_factory) -> Index:
    """Twelve pictures of cameras 1 to 3, a minute apart; searches by words are calibrated."""
    folder = tmp_path_factory.mktemp("page")
    few = ("schedule={epoch: 1, epoch_warmup: 0}", "evaluation.ranked_lists=0")
    demo = ["--config", str(options.RECIPES / "demo.yaml")]
    main.run(parse([*demo, "--output", str(folder / "run"), *SMALL, *places, *few]))
    pictures = folder / "pictures"
    pictures.mkdir()
    for number, file in enumerate(sorted(pedestrians.image_root.rglob("*.jpg"))[:12]):
        shutil.copy(file, pictures / f"c{number % 3 + 1}_20260131_08{number:02}00.jpg")
    people = PersonSearch(folder / "run", "cpu")
    index = people.index(folder / "index")
    index.add(pictures, camera=r"c(\d)_", time=r"\d{8}_\d{6}")
    sample = Scores.of(torch.tensor([THRESHOLD - 1e-6]))
    calibrated = QueryCalibration(12, 1, sample, Scores.of(torch.tensor([0.95])))
    index.set_calibration(Calibration(people.encoder.model_hash, {"words": calibrated}))
    return index


@contextmanager
def served(index: Index, password: str | None = None) -> Iterator[str]:
    """The URL of a server in a thread of this process."""
    from misc.search.page.server import address, listen, serving

    with listen("127.0.0.1", 0) as listening, serving(index, listening, password) as server:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        yield address(listening)
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def url(index) -> Iterator[str]:
    with served(index) as url:
        yield url


@pytest.fixture
def make_picture(tmp_path) -> Callable[[str], Path]:
    """Write a picture that is no part of the index."""
    from PIL import Image

    def make(name: str) -> Path:
        Image.new("RGB", (20, 40), "red").save(tmp_path / name)
        return tmp_path / name

    return make
