"""Plots of how cost grows: time against gallery, batch and processes, memory against batch.

python -m benchmarks.growth

On a CPU, with the demo's towers. The kept memory is what a step's forward keeps for its backward,
the largest at any time. Processes have a thread each, and what is told is the CPU time of one, in
which other programs of the machine do not show, and neither does the wait for the other process.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, ScalarFormatter
from torch import Tensor
from tqdm import tqdm

from benchmarks.metrics import in_processes
from benchmarks.records import RECORD, Record
from benchmarks.steps import Recipe, Step, build_step
from misc.evaluation import rank_features
from misc.reranking import k_reciprocal
from misc.runtime.atomic import atomic_write
from misc.runtime.distributed import Processes, choose_device
from misc.runtime.outputs import OutputFile
from misc.runtime.script import Parser, run_script
from misc.settings.recipes import RECIPES

GALLERIES = (10_000, 30_000, 100_000, 300_000)
RERANKED = (1000, 2000, 4000, 8000)
BATCHES = (16, 32, 64, 128)
PAIRS = 64  # of a step of one or two processes
PLOT = OutputFile("a plot", b"tEXtSoftware\0Matplotlib")
DEMO = Recipe(("--config", str(RECIPES / "demo.yaml")))
WAYS: Mapping[str, Sequence[str]] = {
    "plain": (),
    "model.gradient_checkpointing": ("model.gradient_checkpointing=true",),
    "in parts of 16": ("data.batch_size=16",),
}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(prog="python -m benchmarks.growth", description="Plots of how cost grows.")
    add = parser.add_argument
    file = Path("benchmarks/results/growth.json")
    add("--output", type=RECORD, default=file, metavar="FILE", help=f"JSON (default: {file})")
    plot = Path("docs/growth.png")
    add("--plot", type=PLOT, default=plot, metavar="FILE", help=f"PNG (default: {plot})")
    add("--small", action="store_true", help="a hundredth of the sizes, to try the command itself")
    return parser


def _run(asked: argparse.Namespace) -> None:
    share = 100 if asked.small else 1
    galleries, reranked = ([size // share for size in sizes] for sizes in (GALLERIES, RERANKED))
    batches = BATCHES[:2] if asked.small else BATCHES
    pairs = PAIRS // 4 if asked.small else PAIRS
    alone = cpu_seconds(1, pairs)
    record = Record(asked.output, torch.device("cpu"), seconds=math.inf)
    curves = {
        "seconds of ranking 500 queries": {"": {n: rank_seconds(n) for n in _bar(galleries)}},
        "seconds of re-ranking": {"": {n: rerank_seconds(n) for n in _bar(reranked)}},
        "seconds of a step": {
            way: {n: _seconds(partial(_step, n, words)) for n in _bar(batches)}
            for way, words in WAYS.items()
        },
        "MiB kept for the backward": {
            way: {n: kept_mib(n, words) for n in _bar(batches)} for way, words in WAYS.items()
        },
        "CPU seconds of a step in a process": {
            f"{pairs} pairs in all": {1: alone, 2: cpu_seconds(2, pairs)},
            f"{pairs} pairs each": {1: alone, 2: cpu_seconds(2, 2 * pairs)},
        },
    }
    for name, lines in curves.items():
        for way, points in lines.items():
            record.add(f"{name}, {way}" if way else name, _strings(points))
    draw(asked.plot, curves)


def _bar(sizes: Sequence[int]) -> "tqdm[int]":
    return tqdm(sizes, leave=False, disable=None)


def _strings(points: Mapping[int, float]) -> dict[str, object]:
    return {f"{size:,}": value for size, value in points.items()}


def rank_seconds(size: int) -> float:
    """The time of ranking a gallery of so many features, of 512 values, for 500 queries."""
    features = F.normalize(torch.randn(size + 500, 512), dim=1)
    ids = torch.arange(size + 500) % (size // 4)
    rank = partial(rank_features, features[:500], features[500:], ids[:500], ids[500:], chunk=256)
    return _seconds(lambda: rank)


def rerank_seconds(size: int) -> float:
    """The time of re-ranking so many images, of 1,280 values, a sixth of them queries."""
    query, gallery = torch.randn(size, 1280).split([size // 6, size - size // 6])
    return _seconds(lambda: partial(k_reciprocal, query, gallery, chunk=256))


def _step(batch: int, words: Sequence[str], own: Processes | None = None) -> Step:
    """The step of a batch of all processes together; a process encodes its share at once."""
    own = own or Processes(0, 1, choose_device("cpu"))
    share = batch // own.world_size
    sizes = f"data={{batch_size: {share}, global_batch_size: {batch}, num_workers: 0}}"
    return build_step(DEMO, (sizes, *words), own)


def cpu_seconds(world_size: int, batch: int) -> float:
    """The CPU time of a step in one of some processes, which share a batch; the most of them."""
    return max(in_processes(partial(_cpu_seconds, batch), world_size))


def _cpu_seconds(batch: int, own: Processes) -> float:
    return _least(_step(batch, (), own), time.process_time)


def kept_mib(batch: int, words: Sequence[str]) -> float:
    """The most bytes that a step holds at once for its backward, its parameters left out."""
    step = _step(batch, words)
    held, most = 0, 0
    seen: set[int] = set()

    class Held:
        """A saved tensor, whose bytes count while it lives and no other shares them."""

        def __init__(self, tensor: Tensor) -> None:
            nonlocal held, most
            self.tensor, storage = tensor, tensor.untyped_storage()
            self.place = 0 if storage.data_ptr() in seen else storage.data_ptr()
            self.size = storage.nbytes() if self.place else 0
            seen.add(self.place)
            held += self.size
            most = max(most, held)

        def __del__(self) -> None:
            nonlocal held
            held -= self.size
            seen.discard(self.place)

    parameters = {p.untyped_storage().data_ptr() for p in step.trainer.model.parameters()}
    seen |= parameters
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        step()
    return most / 2**20


def _seconds(build: Callable[[], Callable[[], object]]) -> float:
    return _least(build(), time.perf_counter)


def _least(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """The least of three times of a call, after one more of it."""
    times = []
    for _ in range(4):
        start = clock()
        call()
        times.append(clock() - start)
    return min(times[1:])


def draw(file: Path, curves: Mapping[str, Mapping[str, Mapping[int, float]]]) -> None:
    """Write a PNG with an area for each kind of cost."""
    figure = Figure(figsize=(9, 9), layout="constrained")
    FigureCanvasAgg(figure)
    *areas, empty = figure.subplots(3, 2).flat
    empty.set_axis_off()
    for area, (title, lines) in zip(areas, curves.items(), strict=True):
        for way, points in lines.items():
            area.plot([*points], [*points.values()], marker="o", label=way or None)
        area.set_title(title)
        if 2 in points:  # processes
            area.set_ylim(bottom=0)
        else:
            area.set(xscale="log", yscale="log")
            area.yaxis.set_major_formatter(ScalarFormatter())
            area.yaxis.set_minor_formatter(NullFormatter())
        area.set_xticks([*points], [f"{size:,}" for size in points], minor=False)
        area.xaxis.set_minor_locator(NullLocator())
        area.set_xlabel({1: "images", 2: "processes", 3: "pairs in a batch"}[len(lines)])
        if len(lines) > 1:
            area.legend(frameon=False, fontsize=8)
        area.grid(alpha=0.3)
    with atomic_write(file) as partial_file:
        figure.savefig(partial_file, dpi=110, format="png")


if __name__ == "__main__":
    sys.exit(main())
