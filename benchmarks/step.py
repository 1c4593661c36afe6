"""A training step on a CPU against open_clip's, and bf16 against fp32.

python -m benchmarks.step --output step.json

What is compared is measured in turns in one process, since the speed of a machine changes.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from timeit import timeit

from benchmarks.open_clip_step import build_open_clip_step
from benchmarks.records import NOT_MEASURED, RECORD, Record, Row, against_bar
from benchmarks.steps import RECIPES, SMALL, Step, build_step
from misc.runtime.distributed import Processes, processes
from misc.runtime.script import Parser, positive, run_script

SIMPLIFIED, FULL = "TBPS-CLIP, simplified", "TBPS-CLIP, full"
BAR = 0.90  # of open_clip's time, for the simplified step


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(prog="python -m benchmarks.step", description="A training step on a CPU.")
    add = parser.add_argument
    add("--output", type=RECORD, required=True, metavar="FILE", help="JSON, written row by row")
    add("--batch", type=positive, default=16, metavar="N", help="pairs (default: 16)")
    add("--rounds", type=positive, default=5, metavar="N", help="timed steps (default: 5)")
    add("--small", action="store_true", help="tiny towers, to try the command itself")
    return parser


def _run(asked: argparse.Namespace) -> None:
    with processes("cpu") as own:
        record = Record(asked.output, own.device, seconds=3600)
        for name, measurement in _rows(own, asked):
            record.measure(name, measurement)


def _rows(own: Processes, asked: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Row]]]:
    def build(name: str, precision: str = "fp32") -> Step:
        batch = f"data={{batch_size: {asked.batch}, num_workers: 0}}"
        sizes = SMALL if asked.small else ()
        words = (*sizes, batch, f"experiment.precision={precision}")
        return build_step(RECIPES[name], words, own)

    def against_open_clip(name: str) -> Row:
        ours = build(name)
        row = compare(ours, build_open_clip_step(ours.task.config, own.device), asked.rounds)
        return {**row, **against_bar(row["ratio"], "<=", BAR)} if name == SIMPLIFIED else row

    def half(name: str) -> Row:
        return compare(build(name, "bf16"), build(name), asked.rounds)

    for name in (SIMPLIFIED, FULL):
        yield f"{name}, against open_clip with its plain loss", partial(against_open_clip, name)
    yield f"{SIMPLIFIED}, bf16 against fp32", partial(half, SIMPLIFIED)
    reason = "the code of TBPS-CLIP's authors is not part of this project"
    yield f"{SIMPLIFIED}, against its authors' code", lambda: {NOT_MEASURED: reason}


def compare(
    first: Callable[[], object], second: Callable[[], object], rounds: int
) -> dict[str, float]:
    """Seconds of two steps, taken in turns after one of each, and the ratio of their medians."""
    times = [[timeit(step, number=1) for step in (first, second)] for _ in range(1 + rounds)][1:]
    own, other = (median(column) for column in zip(*times, strict=True))
    return {"seconds": own, "the other's": other, "ratio": own / other}


if __name__ == "__main__":
    sys.exit(main())
