"""Sweeps: the runs of `main.py` that make up a table, several at a time.

A run that has ended is not repeated, and one that was interrupted is resumed.
"""

import argparse
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from errors import InputError
from misc.retrieval.report import summarise
from misc.runtime.script import Parser, given_path, positive
from misc.sweep.run import Run
from misc.synthetic.writing import WrittenDataset

ROOT = Path(__file__).resolve().parent.parent

SMALL = str(ROOT / "benchmarks" / "small.yaml")
LOSSES_OFF = dict.fromkeys(("itc", "nitc", "ritc", "citc", "ss", "mvs_image"), "false")


def make_all(runs: Sequence[Run], jobs: int = 1) -> None:
    """Make the runs that have not ended, `jobs` at a time, each with its share of the cores.

    Raises:
        InputError: a folder has a run of another configuration (then nothing is run), or a run
            failed (the runs under way end first).
    """
    for run in runs:
        run.check()
    missing = [run for run in runs if not run.done]
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with (
        tqdm(total=len(runs), initial=len(runs) - len(missing), unit=" runs", disable=None) as bar,
        ThreadPoolExecutor(jobs) as pool,
    ):
        futures = [pool.submit(run.make, threads) for run in missing]
        for future in futures:
            future.add_done_callback(lambda _: bar.update())
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:  # also after Ctrl-C
            for future in futures:
                future.cancel()
    for future in futures:
        if not future.cancelled():
            future.result()


@dataclass(frozen=True)
class Plan:
    """The runs of a table: the pretraining that the rows start from, and each row's, by seed."""

    starts: Sequence[Run]
    rows: Mapping[str, Sequence[Run]]


def sweep_parser(module: str, description: str, name: str) -> Parser:
    """A command line with the options of every sweep.

    Args:
        module: in `benchmarks`.
        name: of the table, and of the folder of its runs unless `--output` is given.
    """
    parser = Parser(prog=f"python -m benchmarks.{module}", description=description)
    parser.set_defaults(name=name, jobs=1)
    add = parser.add_argument
    add("--output", type=given_path, default=Path("runs", name), metavar="DIR", help="of all runs")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    add("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: cpu)")
    return parser


def add_jobs(parser: Parser) -> None:
    """Add the option of making several runs at a time."""
    about = "runs at a time (default: 1)"
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help=about)


def run_sweep(
    asked: argparse.Namespace,
    plan: Callable[[argparse.Namespace], Plan],
    to_table: Callable[[Plan], str],
) -> None:
    """Make the runs of a table; print it, and write it beside them.

    Args:
        asked: the options of `sweep_parser`.
        plan: draws the data, and lists the runs.
        to_table: the markdown table of runs that have ended.
    """
    if len({*asked.seeds}) < len(asked.seeds):
        raise InputError("--seeds: give each seed once")
    asked.output = asked.output.resolve()
    planned = plan(asked)
    make_all(planned.starts)
    make_all([run for row in planned.rows.values() for run in row], asked.jobs)
    table = to_table(planned)
    (asked.output / f"{asked.name}.md").write_text(table, encoding="utf-8")
    print(table, end="")


def data_settings(dataset: WrittenDataset) -> tuple[str, str]:
    """The settings of the command line that name a dataset."""
    return (
        f"data.annotation_file={dataset.processed.resolve()}",
        f"data.image_root={dataset.image_root.resolve()}",
    )


def experiment_settings(experiment: Mapping[str, str]) -> tuple[str, ...]:
    """The settings of the command line for keys of `experiment`."""
    return tuple(f"experiment.{key}={value}" for key, value in experiment.items())


def pretraining(
    folder: Path, dataset: WrittenDataset, device: str, *settings: str, processes: int = 1
) -> Run:
    """A training of a small CLIP with plain ITC."""
    contrast = experiment_settings(LOSSES_OFF | {"itc": "true"})
    common = ("--config", SMALL, "--device", device, *contrast, *data_settings(dataset))
    return Run(folder, (*common, *settings), processes)


def summarise_runs(runs: Sequence[Run], direction: str, metrics: Sequence[str]) -> list[str]:
    """The cells of a row: mean ± deviation of metrics on the runs' first dataset."""
    found = [next(iter(run.results().values()))[direction] for run in runs]
    return [str(summarise([results[metric] for results in found])) for metric in metrics]


def format_markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table; the first column has the rows' names and no title."""
    lines = [f"| | {' | '.join(titles)} |", f"|---|{'---:|' * len(titles)}"]
    lines += [f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in row)}|" for row in rows]
    return "\n".join(lines) + "\n"
