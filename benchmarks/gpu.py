"""Speed and memory of training and re-ranking on a GPU, in one command of some minutes.

python -m benchmarks.gpu --output gpu.json
python -m benchmarks.gpu --output cpu.json --device cpu --small

Models have random weights and batches are noise, so that neither weights nor datasets are needed.
Given the record of an earlier run on the same machine, it measures the rows that are missing there.
The tables of docs/performance.md are made of it.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch

from benchmarks.open_clip_step import build_open_clip_step
from benchmarks.records import NOT_MEASURED, RECORD, Record, Row, against_bar
from benchmarks.steps import (
    RECIPES,
    SMALL,
    Step,
    build_step,
    free,
    seconds_per_step,
    tower_operations,
    wait_for,
)
from misc.reranking import k_reciprocal
from misc.runtime.distributed import Processes, processes
from misc.runtime.script import Parser, positive, run_script
from misc.settings.sections import Config
from model.interface import TextBatch

SIMPLIFIED, FULL = "TBPS-CLIP, simplified", "TBPS-CLIP, full"
PRODUCT, PEER = "matrix product", "open_clip, plain CLIP loss"
STEP = ": a step"  # in the names of rows
GRAPHS = "model.cuda_graphs=true"
COMPILED, AUTOTUNED = "model.compile=default", "model.compile=max-autotune"
SHARE = "share of the matrix product's rate"
LEAST_RATE, LONGEST_STEP = 0.50, 1.0  # of the matrix product's rate, of open_clip's step
LONGEST_LOADED, LONGEST_RERANKING = 1.10, 2.0  # of the step alone; seconds
MARKET_1501 = (3_368, 15_913)  # queries and gallery
PARITY_STEPS = 3


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.gpu", description="Speed and memory of training on a GPU."
    )
    add = parser.add_argument
    add(
        "--output",
        type=RECORD,
        required=True,
        metavar="FILE",
        help="JSON, written row by row, or completed",
    )
    add("--device", default=None, help="cpu, cuda, cuda:1 ... (default: a GPU, if there is one)")
    add("--small", action="store_true", help="tiny towers and batches, to try the command itself")
    about = "no row begins later (default: 360)"
    add("--seconds", type=positive, default=360, metavar="S", help=about)
    add("--workers", type=positive, default=8, metavar="N", help="of the loader (default: 8)")
    return parser


def _run(asked: argparse.Namespace) -> None:
    with processes(asked.device) as own:
        benchmark = Benchmark(own, small=asked.small, workers=asked.workers)
        record = Record(asked.output, own.device, asked.seconds, completes=True)
        for name in [name for name in record.kept if STEP in name or name in (PRODUCT, PEER)]:
            del record.kept[name]  # they are compared with one another
        for name, measurement in benchmark.rows():
            record.measure(name, measurement)


class Benchmark:
    """The measurements, each a row by itself.

    Args:
        small: tiny towers and batches.
        workers: of the loader.
    """

    def __init__(self, own: Processes, *, small: bool, workers: int) -> None:
        self.own, self.device, self.small, self.workers = own, own.device, small, workers
        self.batch = 8 if small else 80
        self.sizes = SMALL if small else ()
        self.rate: float | None = None  # operations per second of a matrix product
        self.graphs = (GRAPHS,) if own.device.type == "cuda" else ()
        self.steps: dict[str, float] = {}  # seconds of the rows of `fast_step`
        self.cap = 0.1 if small else 6.0

    def rows(self) -> Iterator[tuple[str, Callable[[], Row]]]:
        """Name and measurement of each row; slow ones that tell the least come last."""
        yield PRODUCT, self.matrix_rate
        fast = dict.fromkeys([(), self.graphs, (COMPILED, *self.graphs)])
        for words in fast:
            yield self.fast_step(SIMPLIFIED, *words)
        yield PEER, self.open_clip_step
        yield self.fast_step(FULL, COMPILED, *self.graphs)
        for name in (SIMPLIFIED, FULL):
            yield f"{name}: end to end", partial(self.end_to_end, name)
        yield "re-ranking", self.reranking
        yield "parity of losses", self.parity
        for name in RECIPES:
            yield f"{name}: batch {self.batch}", partial(self.recipe, name, 1)
            if RECIPES[name].in_parts:
                yield f"{name}: batch {4 * self.batch} in parts", partial(self.recipe, name, 4)
        for words in ((COMPILED,), (AUTOTUNED, *self.graphs)):
            if words not in fast:
                yield self.fast_step(SIMPLIFIED, *words)

    def build(self, name: str, *words: str, parts: int = 1, steps: int = 1) -> Step:
        """The step of a recipe at this benchmark's sizes."""
        size = self.batch
        batch = (f"data.batch_size={size}", f"data.global_batch_size={parts * size}")
        workers = f"data.num_workers={self.workers if steps > 1 else 0}"
        settings = (*self.sizes, *batch, workers, *words)
        return build_step(RECIPES[name], settings, self.own, steps)

    def matrix_rate(self) -> Row:
        """The rate of a product of two matrices, 8192 x 8192 in bf16."""
        size, dtype = (256, torch.float32) if self.small else (8192, torch.bfloat16)
        left, right = (torch.randn(size, size, device=self.device, dtype=dtype) for _ in range(2))
        seconds = seconds_per_step(lambda: left @ right, self.device, seconds=self.cap)
        self.rate = 2 * size**3 / seconds
        return {"size": size, "format": str(dtype)[6:], "TFLOP/s": self.rate / 1e12}

    def fast_step(self, name: str, *words: str) -> tuple[str, Callable[[], Row]]:
        """The row of a recipe's step with settings that make it fast, and how it is measured."""
        row = ", ".join([f"{name}{STEP}", *words])
        return row, partial(self._fast_step, row, name, words)

    def _fast_step(self, name: str, recipe: str, words: tuple[str, ...]) -> Row:
        """The operations of the towers as a share of the matrix product's rate; a bar for what
        asks for both compiled blocks and graphs.
        """
        step = self.build(recipe, *words)
        start = time.perf_counter()
        for _ in range(2):  # the first is compiled, the second recorded
            step()
        wait_for(self.device)
        first = time.perf_counter() - start
        cost = self._cost(step, self.batch, tower_operations(step))
        self.steps[name] = cost["seconds"]
        row = {**cost, "first two steps, seconds": first}
        fast = len(words) > len(self.graphs) and SHARE in cost
        return {**row, **against_bar(cost[SHARE], ">=", LEAST_RATE)} if fast else row

    def open_clip_step(self) -> Row:
        """open_clip's model of the same towers, with its plain loss, in the same precision, without
        graphs: our fastest step and our plain one against it.
        """
        config, operations = self._open_clip_work()
        free(self.device)  # our model, whose memory would be in its peak
        row = self._cost(build_open_clip_step(config, self.device), self.batch, operations)
        if not self.steps:
            return row
        plain, _ = self.fast_step(SIMPLIFIED)
        if plain in self.steps:
            row["our plain step / it"] = self.steps[plain] / row["seconds"]
        ratio = min(self.steps.values()) / row["seconds"]
        return {**row, **against_bar(ratio, "<=", LONGEST_STEP)}

    def _open_clip_work(self) -> tuple[Config, float]:
        """The configuration of open_clip's step, and its towers' operations: it reads captions at
        full length and gives every patch.
        """
        ours = self.build(SIMPLIFIED)
        config, batch = ours.task.config, ours.batch
        assert isinstance(batch, TextBatch)
        tokens = batch.tokens.new_zeros(len(batch), config.experiment.text_length)
        theirs = replace(ours, batch=replace(batch, tokens=tokens))
        return config, tower_operations(theirs, whole=True)

    def end_to_end(self, name: str) -> Row:
        """Steps on batches of a loader, whose samples lie in memory, against the step alone.

        The workers' batches come in bursts, of which many are counted.
        """
        skipped, counted = (1, 3) if self.small else (self.workers, 10 * self.workers)
        step = self.build(name, *self.graphs, steps=skipped + counted)
        alone = seconds_per_step(step, self.device, seconds=self.cap)
        loader = step.trainer.stage.loader
        loader.start(0)
        start = time.perf_counter()
        for number, batch in enumerate(loader, 1):
            step.trainer.step(batch.to(self.device), 0)
            if number == skipped:
                wait_for(self.device)
                start = time.perf_counter()
        wait_for(self.device)
        whole = (time.perf_counter() - start) / counted
        row = {"compute": alone, "end to end": whole}
        return {**row, **against_bar(whole / alone, "<=", LONGEST_LOADED)}

    def recipe(self, name: str, parts: int) -> Row:
        """Samples per second and peak memory of a recipe's step, recorded where it can be."""
        step = self.build(name, *self.graphs, parts=parts)
        parameters = sum(parameter.numel() for parameter in step.trainer.model.parameters())
        cost = self._cost(step, parts * self.batch, None)
        return {**cost, "parameters": parameters, "recorded": step.trainer.graphs is not None}

    def _cost(
        self, step: Callable[[], object], samples: int, operations: float | None
    ) -> dict[str, float]:
        seconds = seconds_per_step(step, self.device, seconds=self.cap)
        row = {"seconds": seconds, "samples/s": samples / seconds}
        if self.device.type == "cuda":  # on a CPU it would be that of all rows so far
            row["peak memory, GiB"] = self.own.peak_memory() / 2**30
        if operations is not None:
            row["TFLOP/s"] = operations / seconds / 1e12
            if self.rate is not None:
                row[SHARE] = operations / seconds / self.rate
        return row

    def reranking(self) -> Row:
        """k-reciprocal re-ranking of features as many as Market-1501's, 1,280 wide."""
        sizes, width = ((20, 100), 16) if self.small else (MARKET_1501, 1280)
        query, gallery = (torch.randn(size, width, device=self.device) for size in sizes)
        query += gallery[: sizes[0]]  # so that there are neighbours
        seconds = []
        for _ in range(2):  # the first one loads kernels
            start = time.perf_counter()
            k_reciprocal(query, gallery)
            wait_for(self.device)
            seconds.append(time.perf_counter() - start)
        row = {"images": sum(sizes), "width": width, "first call, seconds": seconds[0]}
        return {**row, **against_bar(seconds[-1], "<=", LONGEST_RERANKING)}

    def parity(self) -> Row:
        """Losses of the first steps: GPU against CPU in fp32, and bf16 against fp32 here."""
        words = ("experiment.dropout=0", "data={batch_size: 8, global_batch_size: 8}")
        devices = {"here": self.own, "CPU": Processes(0, 1, torch.device("cpu"))}
        losses = {}
        for place, precision in (("CPU", "fp32"), ("here", "fp32"), ("here", "bf16")):
            settings = (*self.sizes, *words, f"experiment.precision={precision}")
            step = build_step(RECIPES[SIMPLIFIED], settings, devices[place])
            losses[place, precision] = [step.loss() for _ in range(PARITY_STEPS)]
        reference = losses["here", "fp32"]
        on_gpu = self.device.type == "cuda"
        return {
            "GPU against CPU, fp32": _difference(reference, losses["CPU", "fp32"])
            if on_gpu
            else f"{NOT_MEASURED}: there is no GPU",
            "bf16 against fp32": _difference(losses["here", "bf16"], reference),
            "losses": reference,
        }


def _difference(found: list[float], expected: list[float]) -> float:
    """The largest relative difference."""
    return max(abs(f - e) / abs(e) for f, e in zip(found, expected, strict=True))


if __name__ == "__main__":
    sys.exit(main())
