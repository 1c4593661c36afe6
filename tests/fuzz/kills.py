"""Short trainings that are killed, at random or as they save or evaluate, resumed, and compared bit
by bit; and exports that are killed and done again.
"""

import json
import tempfile
import time
from collections.abc import Callable
from functools import cache
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from random import Random

import torch

import options
from misc.runtime.checkpoint import BEST, LAST, open_checkpoint
from misc.synthetic.writing import write_dataset, write_reid_dataset
from tests.command_line import latest
from tests.conftest import SMALL
from tests.fuzz import _runs

COUNT, SAMPLE = 30, 2
LONGEST = 300.0  # seconds of a case: up to four runs, of up to two processes
MOMENTS = ("any", "saving", "evaluating")
MEASURED = ("samples_per_second", "peak_memory_gib", "seconds")  # of the machine, not of the model
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
    "rde": (
        *("--config", "rde.yaml", "model.clip_pretrained=null", "data.global_batch_size=8"),
        *("model.token_selection={embed_dim: 24, ratio: 0.3}", "data.noise.rate=0.4"),
        "schedule={epoch: 2, epoch_warmup: 1, lr: 1e-3, ratio_factor: 1}",
    ),
    "both": (
        *("--config", "both.yaml", "model.clip_pretrained=null", "experiment.select_on=test"),
        *("data.global_batch_size=8", "reid.images_per_identity=2"),
        "schedule={epoch: 2, epoch_warmup: 1, lr: 1e-3}",
    ),
}
EXPORTED = "text"  # the kind whose model is exported


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
    if kind == "both":
        return *places("text"), *places("reid")
    if kind == "reid":
        sizes |= {"identities": {"train": 8, "test": 4}, "images": (4, 4)}
        return (f"reid.root={write_reid_dataset('market1501', home(), **sizes).root}",)
    drawn = write_dataset("cuhk-pedes", home(), **sizes)
    return f"data.annotation_file={drawn.processed}", f"data.image_root={drawn.image_root}"


def start(kind: str, ranks: int, output: Path) -> list[ForkServerProcess]:
    """Begin a training, or go on with it."""
    words = [str(options.RECIPES / w) if w.endswith(".yaml") else w for w in WORDS[kind]]
    batch = f"data.batch_size={8 // ranks}"
    arguments = [*words, *SMALL, batch, *FEW, *places(kind)]
    arguments += ["--output", str(output), "--resume", "auto"]
    return _runs.start(ranks, latest(arguments), output.with_suffix(".log"))


def finish(run: list[ForkServerProcess], output: Path) -> None:
    """Wait for the end of a training, which must be a good one."""
    ends = _runs.statuses(run)
    assert ends == [0] * len(run), output.with_suffix(".log").read_text()
    assert not [*output.rglob("*.partial")]


@cache
def whole(kind: str, ranks: int) -> tuple[Path, float]:
    """A training that nothing kills, and the seconds that it takes."""
    folder, begin = home() / f"{kind}-{ranks}", time.monotonic()
    finish(start(kind, ranks, folder), folder)
    return folder, time.monotonic() - begin


def result(folder: Path) -> tuple[list[dict], list[object], str]:
    """The rows of a run, its positions and weights, and its closing tables."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    rows = [
        {name: value for name, value in row.items() if name not in MEASURED}
        for row in lines
        if "division_seconds" not in row  # a division that a kill repeats is timed twice
    ]
    kept = [open_checkpoint(folder / name) for name in (LAST, BEST)]
    assert kept[0].training is not None
    states = [kept[0].training.position, *(checkpoint.state for checkpoint in kept)]
    return rows, states, (folder / "results.json").read_text()


def detector(moment: str, whole_run: Path, folder: Path) -> Callable[[], bool]:
    """A function that tells whether a training is saving, or evaluating."""
    rows = [json.loads(line) for line in (whole_run / "metrics.jsonl").open()]
    evaluated = {row["step"] for row in rows if "split" in row}

    def is_evaluating() -> bool:
        file = folder / "metrics.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        if not lines or not lines[-1].endswith("\n"):
            return False
        last = json.loads(lines[-1])
        return "loss" in last and last["step"] in evaluated

    return {
        "any": lambda: True,
        "saving": lambda: any(folder.glob("*.partial")),
        "evaluating": is_evaluating,
    }[moment]


def kill(run: list[ForkServerProcess], is_due: Callable[[], bool], delay: float) -> None:
    """Kill all processes, at the first moment after a delay that is due."""
    time.sleep(delay)
    while not is_due() and any(process.is_alive() for process in run):
        time.sleep(0.0005)
    for process in run:
        process.kill()
    _runs.statuses(run)


def files(folder: Path) -> dict[str, bytes]:
    """The contents of an exported folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def start_export(output: Path) -> list[ForkServerProcess]:
    """Begin to export a trained model."""
    return _runs.start_export([str(whole(EXPORTED, 1)[0]), str(output), "--format", "huggingface"])


@cache
def whole_export() -> tuple[Path, float]:
    """An export that nothing kills, and the seconds that it takes."""
    output = home() / "export" / "exported"
    assert _runs.statuses(start_export(output)) == [0]
    begin = time.monotonic()  # the first one has trained the model and read the libraries
    assert _runs.statuses(start_export(output.parent / "again" / output.name)) == [0]
    return output, time.monotonic() - begin


def kill_export(random: Random, folder: Path) -> None:
    """Kill an export, find no folder or a whole one, and do it again."""
    expected, seconds = whole_export()
    output = folder / expected.name
    moment = random.choice(("any", "saving"))
    is_due = {"any": lambda: True, "saving": lambda: any(folder.glob("*.partial"))}[moment]
    kill(start_export(output), is_due, 0.0 if moment == "saving" else random.random() * seconds)
    if output.exists():
        assert files(output) == files(expected)
    else:
        assert _runs.statuses(start_export(output)) == [0]
    assert files(output) == files(expected)
    assert [*folder.iterdir()] == [output]


def case(random: Random, folder: Path) -> None:
    """Kill a training or an export, let it end, and find nothing lost."""
    kind = random.choice([*WORDS, "export"])
    if kind == "export":
        kill_export(random, folder)
    else:
        kill_training(kind, random, folder)


def kill_training(kind: str, random: Random, folder: Path) -> None:
    """Kill a training once or twice, let it end, and compare it with one that nothing kills."""
    ranks = random.choice([1, 1, 2])
    expected, seconds = whole(kind, ranks)
    output = folder / "run"
    for _ in range(random.choice([1, 2])):
        run = start(kind, ranks, output)
        is_due = detector(random.choice(MOMENTS), expected, output)
        kill(run, is_due, random.uniform(0.1, 1) * seconds)
    finish(start(kind, ranks, output), output)
    (rows, (position, *states), tables) = result(expected)
    (own_rows, (own_position, *own_states), own_tables) = result(output)
    assert own_rows == rows
    assert own_position == position
    assert own_tables == tables
    for state, own in zip(states, own_states, strict=True):
        assert own.keys() == state.keys()
        assert all(torch.equal(tensor, own[name]) for name, tensor in state.items())
