"""Ablation of TBPS-CLIP on synthetic pedestrians: the table of docs/ablation.md.

python -m benchmarks.ablation --output runs/ablation --jobs 2

A small CLIP is pretrained with plain ITC on one synthetic dataset, then fine-tuned on another,
harder one, with the parts of the method added one by one. Given the same --output again, runs that
have ended are not repeated.
"""

import argparse
import sys

from benchmarks.pedestrians import draw_easy, draw_hard
from benchmarks.sweep import (
    LOSSES_OFF,
    SMALL,
    Plan,
    add_jobs,
    data_settings,
    experiment_settings,
    format_markdown,
    pretraining,
    run_sweep,
    summarise_runs,
    sweep_parser,
)
from misc.runtime.script import Parser, run_script
from misc.sweep.run import of_seeds

METRICS = ("R1", "R5", "mAP")

NO_TEXT = {"back_trans": "false", "eda_alpha": "0"}
NO_IMAGE = {"augment_image": "false"}


def _with(*parts: str, **others: str) -> dict[str, str]:
    """Keys of `experiment`: these parts on, all other losses off."""
    return LOSSES_OFF | dict.fromkeys(parts, "true") | others


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
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = sweep_parser("ablation", "Ablation on synthetic pedestrians.", "ablation")
    add_jobs(parser)
    return parser


def _run(asked: argparse.Namespace) -> None:
    run_sweep(asked, plan, to_table)


def plan(asked: argparse.Namespace) -> Plan:
    """Draw the data; the pretraining, and the runs of each configuration."""
    output = asked.output
    easy, hard = draw_easy(output / "data", 3000), draw_hard(output / "data")
    start = pretraining(output / "start", easy, asked.device, "schedule.epoch=5")
    common = ("--config", SMALL, "--device", asked.device, *data_settings(hard))
    tuning = (f"model.init_from={start.folder}", "schedule.epoch=3", "schedule.lr=3e-4")
    rows = {
        name: of_seeds(
            output / str(number), asked.seeds, (*common, *tuning, *experiment_settings(experiment))
        )
        for number, (name, experiment) in enumerate(ROWS.items())
    }
    return Plan([start], rows)


def to_table(planned: Plan) -> str:
    """A markdown table, text to image: a row for each configuration, mean ± deviation."""
    rows = planned.rows.items()
    cells = [(name, *summarise_runs(runs, "text to image", METRICS)) for name, runs in rows]
    return format_markdown(METRICS, cells)


if __name__ == "__main__":
    sys.exit(main())
