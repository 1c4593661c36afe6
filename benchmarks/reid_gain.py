"""CLIP-ReID and its baseline on synthetic pedestrians: the table of docs/reid.md.

python -m benchmarks.reid_gain --output runs/reid

A small CLIP of either kind is pretrained with plain ITC on described pedestrians, then
fine-tuned on others, in the layout of Market-1501, by CLIP-ReID and by its baseline, on two
processes. Given the same --output again, runs that have ended are not repeated.
"""

import argparse
import sys

from benchmarks.pedestrians import draw_easy, draw_reid
from benchmarks.sweep import (
    ROOT,
    Plan,
    format_markdown,
    pretraining,
    run_sweep,
    summarise_runs,
    sweep_parser,
)
from misc.runtime.script import Parser, positive, run_script
from misc.sweep.run import of_seeds

TOWERS = {"ViT": "vit", "ResNet": "cnn"}
METHODS = {"baseline": "baseline", "CLIP-ReID": "clipreid"}
DIRECTIONS = ("image to image", "image to image, re-ranked")
METRICS = ("mAP", "R1")
RERANK = "evaluation.rerank={k1: 20, k2: 6, weight: 0.3}"
START = {  # settings of the pretraining of either image tower
    "vit": ("data.normalize=half",),
    "cnn": (
        "model.last_stride=1",
        "model.vision={width: 16, layers: [1, 1, 1, 1], heads: 8, patch_size: null}",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    description = "CLIP-ReID and its baseline on synthetic pedestrians."
    parser = sweep_parser("reid_gain", description, "reid")
    about = "of each run (default: 2)"
    parser.add_argument("--processes", type=positive, default=2, metavar="N", help=about)
    return parser


def _run(asked: argparse.Namespace) -> None:
    run_sweep(asked, plan, to_table)


def plan(asked: argparse.Namespace) -> Plan:
    """Draw the data; the pretraining of either tower, and the runs of each method on it."""
    output, processes = asked.output, asked.processes
    easy, reid = draw_easy(output / "data", 2000), draw_reid(output / "data")
    starts = {
        tower: pretraining(
            output / f"start-{tower}",
            easy,
            asked.device,
            "schedule.epoch=4",
            *settings,
            processes=processes,
        )
        for tower, settings in START.items()
    }
    rows = {}
    for tower, kind in TOWERS.items():
        for method, recipe in METHODS.items():
            arguments = (
                *("--config", str(ROOT / "benchmarks" / "reid" / f"{recipe}_{kind}.yaml")),
                *("--device", asked.device, RERANK, f"reid.root={reid.root}"),
                f"model.init_from={starts[kind].folder}",
            )
            rows[f"{method}, {tower}"] = of_seeds(
                output / f"{recipe}-{kind}", asked.seeds, arguments, processes
            )
    return Plan(list(starts.values()), rows)


def to_table(planned: Plan) -> str:
    """A markdown table, mean ± deviation: without re-ranking, then with it."""
    plain, _ = DIRECTIONS
    titles = [f"{metric}{row.removeprefix(plain)}" for row in DIRECTIONS for metric in METRICS]
    rows = (
        (name, *(cell for row in DIRECTIONS for cell in summarise_runs(runs, row, METRICS)))
        for name, runs in planned.rows.items()
    )
    return format_markdown(titles, rows)


if __name__ == "__main__":
    sys.exit(main())
