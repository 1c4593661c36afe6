"""Ablation of TBPS-CLIP on synthetic pedestrians: the table of docs/ablation.md.

python -m benchmarks.ablation --output runs/ablation --jobs 2

A small CLIP is pretrained with plain ITC on one synthetic dataset, then fine-tuned on another,
harder one, with the parts of the method added one by one. With --few it is fine-tuned on a quarter
of the people for ten times as many epochs, so that it learns them by heart; also with and without
augmentation for several lengths. Given the same --output again, runs that have ended are not
repeated: the table may be made in parts, by --rows.
"""

import argparse
import sys
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.pedestrians import draw_easy, draw_few, draw_hard
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


class Row(NamedTuple):
    """A row of the table: keys of `experiment`, and the epochs of the fine-tuning; None: 3, or 30
    on few people.
    """

    experiment: Mapping[str, str]
    epochs: int | None = None


SIMPLIFIED = _with("nitc", "ritc")
NEITHER = SIMPLIFIED | NO_TEXT | NO_IMAGE
ROWS = {
    "ITC": Row(_with("itc")),
    "N-ITC": Row(_with("nitc")),
    "N-ITC + R-ITC (simplified)": Row(SIMPLIFIED),
    "... + C-ITC": Row(_with("nitc", "ritc", "citc")),
    "... + C-ITC + SS": Row(_with("nitc", "ritc", "citc", "ss")),
    "... + C-ITC + SS + multi-view (full)": Row(_with("nitc", "ritc", "citc", "ss", "mvs_image")),
    "simplified, captions as they are": Row(SIMPLIFIED | NO_TEXT),
    "simplified, pictures as they are": Row(SIMPLIFIED | NO_IMAGE),
    "simplified, neither augmented": Row(NEITHER),
}
LENGTHS = {
    "simplified, 10 epochs": Row(SIMPLIFIED, 10),
    "simplified, neither augmented, 10 epochs": Row(NEITHER, 10),
    "simplified, 3 epochs": Row(SIMPLIFIED, 3),
    "simplified, neither augmented, 3 epochs": Row(NEITHER, 3),
}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = sweep_parser("ablation", "Ablation on synthetic pedestrians.", "ablation")
    add_jobs(parser)
    add = parser.add_argument
    add("--few", action="store_true", help="300 people for 30 epochs, not 1,200 for 3")
    add("--rows", nargs="+", choices=[*ROWS, *LENGTHS], metavar="NAME", help="default: all")
    return parser


def _run(asked: argparse.Namespace) -> None:
    run_sweep(asked, plan, to_table)


def plan(asked: argparse.Namespace) -> Plan:
    """Draw the data; the pretraining, and the runs of each configuration."""
    output = asked.output
    easy = draw_easy(output / "data", 3000)
    people = draw_few(output / "data", 300, 100) if asked.few else draw_hard(output / "data")
    start = pretraining(output / "start", easy, asked.device, "schedule.epoch=5")
    common = ("--config", SMALL, "--device", asked.device, *data_settings(people))
    tuning = (*common, f"model.init_from={start.folder}", "schedule.lr=3e-4")
    known = ROWS | LENGTHS
    rows = {}
    for number, (name, row) in enumerate(known.items()):
        if name in (asked.rows or (known if asked.few else ROWS)):
            epochs = f"schedule.epoch={row.epochs or (30 if asked.few else 3)}"
            words = (*tuning, epochs, *experiment_settings(row.experiment))
            rows[name] = of_seeds(output / str(number), asked.seeds, words)
    return Plan([start], rows)


def to_table(planned: Plan) -> str:
    """A markdown table, text to image: a row for each configuration, mean ± deviation."""
    rows = planned.rows.items()
    cells = [(name, *summarise_runs(runs, "text to image", METRICS)) for name, runs in rows]
    return format_markdown(METRICS, cells)


if __name__ == "__main__":
    sys.exit(main())
