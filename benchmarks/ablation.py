"""What each part of TBPS-CLIP brings, on synthetic pedestrians; the table of docs/ablation.md.

python -m benchmarks.ablation --output runs/ablation --jobs 2

A small CLIP is trained with plain contrast on one synthetic dataset, then fine-tuned on another,
harder one, with the method's parts added one by one. Given the same --output again, the runs that
are there are not repeated.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from benchmarks.sweep import ROOT, Run, make_all, places
from errors import InputError
from misc.retrieval.report import summarise
from misc.runtime.script import run_script
from misc.synthetic.writing import WrittenDataset, write_dataset

RECIPE = str(ROOT / "benchmarks" / "small.yaml")
METRICS = ("R1", "R5", "mAP")

OFF = dict.fromkeys(("itc", "nitc", "ritc", "citc", "ss", "mvs_image"), "false")
NO_TEXT = {"back_trans": "false", "eda_alpha": "0"}
NO_IMAGE = {"augment_image": "false"}


def _with(*parts: str, **others: str) -> dict[str, str]:
    """Keys of `experiment`: these parts on, all other losses off."""
    return OFF | dict.fromkeys(parts, "true") | others


ROWS = {
    "ITC": _with("itc"),
    "N-ITC": _with("nitc"),
    "N-ITC + R-ITC (simplified)": _with("nitc", "ritc"),
    "... + C-ITC": _with("nitc", "ritc", "citc"),
    "... + C-ITC + SS": _with("nitc", "ritc", "citc", "ss"),
    "... + C-ITC + SS + multi-view (full)": _with("nitc", "ritc", "citc", "ss", "mvs_image"),
    "simplified, captions as they are": _with("nitc", "ritc", **NO_TEXT),
    "simplified, pictures as they are": _with("nitc", "ritc", **NO_IMAGE),
    "simplified, neither augmented": _with("nitc", "ritc", **NO_TEXT, **NO_IMAGE),
}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    asked = _parser().parse_args(arguments)
    return run_script(lambda: _run(asked))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablation", description="Ablation on synthetic pedestrians."
    )
    add = parser.add_argument
    add("--output", type=Path, default=Path("runs/ablation"), metavar="DIR", help="of all runs")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    add("--jobs", type=int, default=1, metavar="N", help="runs at a time (default: 1)")
    add("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: cpu)")
    return parser


def _run(asked: argparse.Namespace) -> None:
    if asked.jobs < 1 or len({*asked.seeds}) < len(asked.seeds):
        raise InputError("give at least one of --jobs, and each of --seeds once")
    output = asked.output.resolve()
    common = ("--config", RECIPE, "--device", asked.device)
    known, new = write_data(output / "data")
    start = Run(
        output / "start",
        (*common, *_settings(OFF | {"itc": "true"}), *places(known), "schedule.epoch=5"),
    )
    make_all([start])
    tuning = (*common, *places(new), f"model.init_from={start.folder}", "schedule.epoch=3")
    runs = {
        name: [
            Run(
                output / f"{row}-{seed}",
                (*tuning, *_settings(experiment), "schedule.lr=3e-4", f"misc.seed={seed}"),
            )
            for seed in asked.seeds
        ]
        for row, (name, experiment) in enumerate(ROWS.items())
    }
    make_all([run for row in runs.values() for run in row], asked.jobs)
    table = to_table(runs)
    (output / "ablation.md").write_text(table, encoding="utf-8")
    print(table, end="")


def write_data(folder: Path) -> tuple[WrittenDataset, WrittenDataset]:
    """What the small CLIP knows, and what it is then fine-tuned on: other people, harder."""
    write = partial(write_dataset, output=folder, height=(96, 128), workers=2, progress=True)
    known = write(
        "icfg-pedes",
        identities={"train": 3000, "test": 100},
        images=(3, 3),
        difficulty=0.3,
        seed=1,
    )
    new = write(
        "cuhk-pedes",
        identities={"train": 1200, "test": 300},
        images=(2, 2),
        difficulty=0.5,
        seed=2,
    )
    return known, new


def _settings(experiment: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"experiment.{key}={value}" for key, value in experiment.items())


def to_table(runs: dict[str, list[Run]]) -> str:
    """A markdown table, text to image: a row for each configuration, mean ± deviation."""
    lines = [f"| | {' | '.join(METRICS)} |", f"|---|{'---:|' * len(METRICS)}"]
    for name, row in runs.items():
        found = [next(iter(run.results().values()))["text to image"] for run in row]
        cells = [str(summarise([metrics[metric] for metrics in found])) for metric in METRICS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
