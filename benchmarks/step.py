"""A training step on a CPU against open_clip's and TBPS-CLIP's own, and bf16 against fp32.

python -m benchmarks.step --output step.json
python -m benchmarks.step --output step.json --authors TBPS-CLIP    # a clone of their repository

Without the clone, rows against the authors' code that an earlier record has are kept as they are.
What is compared takes its steps in turns, since the speed of a machine changes. The others' steps
are taken by processes of their own. open_clip's model encodes as many views of each image as ours.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from timeit import timeit

from benchmarks.authors_step import REPOSITORY, authors_step
from benchmarks.open_clip_step import build_open_clip_step, in_own_process
from benchmarks.records import NOT_MEASURED, RECORD, Record, Row, against_bar, read_rows
from benchmarks.steps import RECIPES, SMALL, Step, build_step, count_views
from misc.runtime.distributed import Processes, processes
from misc.runtime.script import Parser, given_path, positive, run_script
from model.interface import TextBatch

SIMPLIFIED, FULL = "TBPS-CLIP, simplified", "TBPS-CLIP, full"
BAR = 0.90  # of open_clip's time
AUTHORS_BARS = {SIMPLIFIED: 0.60, FULL: 0.75}  # of the authors'
AUTHORS_ROW = ", against its authors' code"
AUTHORS = {SIMPLIFIED: "s.config.yaml", FULL: "config.yaml"}  # their configurations


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(prog="python -m benchmarks.step", description="A training step on a CPU.")
    add = parser.add_argument
    add("--output", type=RECORD, required=True, metavar="FILE", help="JSON, written row by row")
    add("--batch", type=positive, default=16, metavar="N", help="pairs (default: 16; full: half)")
    add("--rounds", type=positive, default=5, metavar="N", help="timed steps (default: 5)")
    known = f"a clone of {REPOSITORY}, to measure its step, too"
    add("--authors", type=given_path, metavar="DIR", help=known)
    add("--small", action="store_true", help="tiny towers, to try the command itself")
    return parser


def _run(asked: argparse.Namespace) -> None:
    earlier = read_rows(asked.output) if asked.authors is None else {}
    with processes("cpu") as own:
        record = Record(asked.output, own.device, seconds=3600)
        for name, measurement in _rows(own, asked):
            if name.endswith(AUTHORS_ROW) and name in earlier:
                print(f"kept from the earlier {asked.output}, as --authors was not given:")
                record.add(name, earlier[name])
            else:
                record.measure(name, measurement)


def _rows(own: Processes, asked: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Row]]]:
    # Two full steps of 16 pairs need 24 GB.
    batches = {SIMPLIFIED: asked.batch, FULL: max(1, asked.batch // 2)}

    def build(name: str, precision: str = "fp32") -> Step:
        batch = f"data={{batch_size: {batches[name]}, num_workers: 0}}"
        sizes = SMALL if asked.small else ()
        words = (*sizes, batch, f"experiment.precision={precision}")
        return build_step(RECIPES[name], words, own)

    def against_open_clip(name: str) -> Row:
        ours = build(name)
        assert isinstance(ours.batch, TextBatch)
        views = count_views(ours.batch)
        peer = partial(build_open_clip_step, ours.task.config, own.device, views)
        with in_own_process(peer) as theirs:
            return {**judged(name, compare(ours, theirs, asked.rounds), BAR), "views": views}

    def against_authors(name: str) -> Row:
        if asked.authors is None:
            return {NOT_MEASURED: "--authors, a clone of their repository, was not given"}
        with authors_step(asked.authors, AUTHORS[name], batches[name]) as theirs:
            return judged(name, compare(build(name), theirs, asked.rounds), AUTHORS_BARS[name])

    def judged(name: str, row: dict[str, float], bar: float) -> Row:
        return {**row, **against_bar(row["ratio"], "<=", bar), "batch": batches[name]}

    def half(name: str) -> Row:
        return compare(build(name, "bf16"), build(name), asked.rounds)

    # The largest last: what a process has once held it keeps.
    for name in AUTHORS:
        yield f"{name}{AUTHORS_ROW}", partial(against_authors, name)
    yield f"{SIMPLIFIED}, bf16 against fp32", partial(half, SIMPLIFIED)
    for name in (SIMPLIFIED, FULL):
        yield f"{name}, against open_clip with its plain loss", partial(against_open_clip, name)


def compare(
    first: Callable[[], object], second: Callable[[], object], rounds: int
) -> dict[str, float]:
    """Seconds of two steps, taken in turns after one of each, and the ratio of their medians."""
    times = [[timeit(step, number=1) for step in (first, second)] for _ in range(1 + rounds)][1:]
    own, other = (median(column) for column in zip(*times, strict=True))
    return {"seconds": own, "the other's": other, "ratio": own / other}


if __name__ == "__main__":
    sys.exit(main())
