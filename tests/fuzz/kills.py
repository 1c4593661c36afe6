"""Short trainings that are killed at random moments, resumed, and compared bit by bit."""

import json
import os
import socket
import sys
import tempfile
import time
from functools import cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from random import Random

import torch

import main
import options
from misc.runtime.checkpoint import BEST, LAST, open_checkpoint
from misc.synthetic.writing import write_dataset, write_reid_dataset
from tests.conftest import SMALL

COUNT, SAMPLE = 30, 2
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["misc.job", "main", __name__])
MEASURED = ("samples_per_second", "peak_memory_gib")  # of the machine, not of the model
FEW = ("log.print_period=2", "log.save_period=2", "evaluation.ranked_lists=0")
WORDS = {
    "text": ("--config", "demo.yaml", "schedule.epoch=2"),
    "tuned": ("--config", "demo.yaml", "schedule.epoch=2", "lora.rank=2"),
    "reid": (
        *(
            "--config",
            "clipreid_vit.yaml",
            "model.clip_pretrained=null",
            "experiment.select_on=test",
        ),
        *("data.global_batch_size=8", "reid.images_per_identity=2"),
        "stages.prompts.schedule={epoch: 2, epoch_warmup: 1, lr: 1e-2}",
        "stages.images.schedule={epoch: 2, epoch_warmup: 1, milestones: [2], lr: 1e-3}",
    ),
}


@cache
def home() -> Path:
    """A folder with the datasets and the runs that nothing kills."""
    return Path(tempfile.mkdtemp(prefix="kills-"))


@cache
def places(kind: str) -> tuple[str, ...]:
    """The settings that name a dataset."""
    sizes: dict = {
        "identities": {"train": 8, "val": 3, "test": 3},
        "images": (2, 2),
        "height": (40, 48),
    }
    if kind == "reid":
        sizes |= {"identities": {"train": 8, "test": 4}, "images": (4, 4)}
        return (f"reid.root={write_reid_dataset('market1501', home(), **sizes).root}",)
    drawn = write_dataset("cuhk-pedes", home(), **sizes)
    return f"data.annotation_file={drawn.processed}", f"data.image_root={drawn.image_root}"


def rank_of(rank: int, world_size: int, port: int, log: Path, arguments: list[str]) -> None:
    """main.py in one process of a run."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with log.open("a") as sys.stderr:
        sys.stdout, sys.argv = sys.stderr, ["main.py", *arguments]
        main.main()


def start(kind: str, ranks: int, output: Path) -> list[ForkServerProcess]:
    """Begin a training, or go on with it."""
    words = [str(options.RECIPES / w) if w.endswith(".yaml") else w for w in WORDS[kind]]
    small = [w for w in SMALL if not w.startswith("data.batch_size")]
    batch = [f"data.batch_size={8 // ranks}"]
    arguments = [*words, *small, *batch, *FEW, *places(kind)]
    arguments += ["--output", str(output), "--resume", "auto"]
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    log = output.with_suffix(".log")
    run = [
        CONTEXT.Process(target=rank_of, args=(rank, ranks, port, log, arguments))
        for rank in range(ranks)
    ]
    for process in run:
        process.start()
    return run


def finish(run: list[ForkServerProcess], output: Path) -> None:
    """Wait for the end of a training, which must be a good one."""
    for process in run:
        process.join()
    assert [process.exitcode for process in run] == [0] * len(run), output.with_suffix(
        ".log"
    ).read_text()


@cache
def whole(kind: str, ranks: int) -> tuple[Path, float]:
    """A training that nothing kills, and the seconds that it takes."""
    folder, begin = home() / f"{kind}-{ranks}", time.monotonic()
    finish(start(kind, ranks, folder), folder)
    return folder, time.monotonic() - begin


def result(folder: Path) -> tuple[list[dict], list[object]]:
    """The rows of a run, and its positions and weights."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [{k: v for k, v in json.loads(line).items() if k not in MEASURED} for line in lines]
    kept = [open_checkpoint(folder / name) for name in (LAST, BEST)]
    assert kept[0].training is not None
    return rows, [kept[0].training.position, *(checkpoint.state for checkpoint in kept)]


def case(random: Random, folder: Path) -> None:
    """Kill a training once or twice, let it end, and find nothing lost."""
    kind, ranks = random.choice([*WORDS]), random.choice([1, 1, 2])
    expected, seconds = whole(kind, ranks)
    for _ in range(random.choice([1, 2])):
        run = start(kind, ranks, folder / "run")
        time.sleep(random.uniform(0.1, 1) * seconds)
        for process in run:
            process.kill()
        for process in run:
            process.join()
    finish(start(kind, ranks, folder / "run"), folder / "run")
    (rows, (position, *states)), (own_rows, (own_position, *own_states)) = (
        result(expected),
        result(folder / "run"),
    )
    assert own_rows == rows
    assert own_position == position
    for state, own in zip(states, own_states, strict=True):
        assert own.keys() == state.keys()
        assert all(torch.equal(tensor, own[name]) for name, tensor in state.items())
