"""Runs of two ranks, of which one is stopped or killed at a random moment, or their agent is."""

import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from random import Random
from tempfile import mkdtemp

import options
from misc.synthetic.writing import WrittenDataset, write_dataset
from tests.command_line import latest
from tests.conftest import SMALL

COUNT = 30
SAMPLE = 0  # tests/runtime/test_lost_ranks.py has one of each kind
LONGEST = 180.0  # seconds of a case: two processes import torch
LIMIT = 3.0  # seconds without a sign of a rank
LATEST = 6.0  # seconds after the start at which it is lost
SLACK = 60.0  # for a machine with much else to do
ENDED = "ZX"  # states of a process that nobody has waited for yet


def case(random: Random, folder: Path) -> None:
    """The other ranks end with a sentence, and nothing is left running."""
    lose(random.choice(["hung", "killed", "orphaned"]), random, folder)


def lose(kind: str, random: Random, folder: Path) -> None:
    """Start a run that would take an hour, and take a part of it away."""
    with (folder / "errors.txt").open("w+") as errors:
        agent = subprocess.Popen(
            [sys.executable, "-m", "tests.agent", "2", *latest(arguments(folder))],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        ranks = [int(pid) for pid in agent.stdout.readline().split()]
        time.sleep(LATEST * random.random())
        lost = random.choice([0, 1])
        start = time.monotonic()
        if kind == "orphaned":
            agent.kill()
            expected = ranks
        else:
            os.kill(ranks[lost], signal.SIGSTOP if kind == "hung" else signal.SIGKILL)
            expected = [ranks[1 - lost]]
        while any(map(is_running, expected)):
            assert time.monotonic() - start < LIMIT + SLACK, f"{kind}: {expected} still run"
            time.sleep(0.05)
        took = time.monotonic() - start
        if kind == "hung":
            os.kill(ranks[lost], signal.SIGKILL)  # as torchrun does
        left = agent.stdout.read().split()
        agent.wait()
        errors.seek(0)
        check(kind, lost, took, left, errors.read())


def check(kind: str, lost: int, took: float, statuses: list[str], errors: str) -> None:
    if kind == "orphaned":
        assert took < 10, f"orphans lived for {took:.1f} s"
        return
    assert int(statuses[1 - lost]) > 0, (kind, statuses, errors)
    sentences = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(sentences) == 1, (kind, errors)
    if kind == "hung":
        assert f"rank {lost} " in sentences[0], errors
        assert took > LIMIT / 2  # the last sign of the lost rank is older than its stop
    assert "Traceback" not in errors


def is_running(pid: int) -> bool:
    """Whether a process exists that has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ENDED


def arguments(folder: Path) -> list[str]:
    """A run of many short epochs."""
    data = dataset()
    return [
        *("--config", str(options.RECIPES / "demo.yaml"), "--output", str(folder / "run")),
        *SMALL,
        f"data.annotation_file={data.processed}",
        f"data.image_root={data.image_root}",
        "data.batch_size=4",
        "schedule.epoch=10000",
        "log.print_period=1",
        f"distributed.timeout_minutes={LIMIT / 60}",
    ]


@cache
def dataset() -> WrittenDataset:
    return write_dataset(
        "cuhk-pedes",
        Path(mkdtemp(prefix="pedestrians-")),
        identities={"train": 20, "val": 6, "test": 6},
        images=(2, 3),
        height=(40, 64),
    )
