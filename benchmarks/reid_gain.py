"""What CLIP-ReID brings over its baseline, on synthetic pedestrians; the table of docs/reid.md.

python -m benchmarks.reid_gain --output runs/reid

A small CLIP of either kind is trained with plain contrast on described pedestrians, then fine-tuned
on others, in the layout of Market-1501, by CLIP-ReID and by its baseline, on two processes. Given
the same --output again, the runs that are there are not repeated.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.sweep import ROOT, Run, make_all, places
from errors import InputError
from misc.retrieval.report import summarise
from misc.runtime.script import run_script
from misc.synthetic.writing import write_dataset, write_reid_dataset

TOWERS = {"ViT": "vit", "ResNet": "cnn"}
METHODS = {"baseline": "baseline", "CLIP-ReID": "clipreid"}
ROWS = ("image to image", "image to image, re-ranked")
METRICS = ("mAP", "R1")
RERANK = "evaluation.rerank={k1: 20, k2: 6, weight: 0.3}"
START = {  # what the image towers are pretrained with
    "vit": ("data.normalize=half",),
    "cnn": (
        "model.last_stride=1",
        "model.vision={width: 16, layers: [1, 1, 1, 1], heads: 8, patch_size: null}",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    asked = _parser().parse_args(arguments)
    return run_script(lambda: _run(asked))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reid_gain",
        description="CLIP-ReID and its baseline on synthetic pedestrians.",
    )
    add = parser.add_argument
    add("--output", type=Path, default=Path("runs/reid"), metavar="DIR", help="of all runs")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    add("--processes", type=int, default=2, metavar="N", help="of each run (default: 2)")
    add("--device", default="cpu", help="cpu or cuda (default: cpu)")
    return parser


def _run(asked: argparse.Namespace) -> None:
    if asked.processes < 1 or len({*asked.seeds}) < len(asked.seeds):
        raise InputError("give at least one of --processes, and each of --seeds once")
    output = asked.output.resolve()
    starts, runs = plan(output, asked.seeds, asked.processes, asked.device)
    make_all([*starts, *(run for row in runs.values() for run in row)])
    table = to_table(runs)
    (output / "reid.md").write_text(table, encoding="utf-8")
    print(table, end="")


def plan(
    output: Path, seeds: list[int], processes: int, device: str
) -> tuple[list[Run], dict[str, list[Run]]]:
    """Draws the data; the pretraining of either tower, and the runs of every row of the table."""
    known = write_dataset(
        "icfg-pedes",
        output=output / "data",
        identities={"train": 2000, "test": 100},
        images=(3, 3),
        height=(96, 128),
        difficulty=0.3,
        seed=1,
        workers=2,
        progress=True,
    )
    new = write_reid_dataset(
        "market1501",
        output=output / "data",
        identities={"train": 200, "test": 150},
        images=(6, 6),
        height=(96, 128),
        difficulty=0.5,
        seed=2,
        workers=2,
        progress=True,
    )
    small = str(ROOT / "benchmarks" / "small.yaml")
    losses = ("itc=true", "nitc=false", "ritc=false", "citc=false", "ss=false", "mvs_image=false")
    starts = {
        tower: Run(
            output / f"start-{tower}",
            (
                *("--config", small, "--device", device, *places(known), "schedule.epoch=4"),
                *(f"experiment.{loss}" for loss in losses),
                *settings,
            ),
            processes,
        )
        for tower, settings in START.items()
    }
    runs = {}
    for tower, kind in TOWERS.items():
        for method, recipe in METHODS.items():
            file = ROOT / "benchmarks" / "reid" / f"{recipe}_{kind}.yaml"
            runs[f"{method}, {tower}"] = [
                Run(
                    output / f"{recipe}-{kind}-{seed}",
                    (
                        *("--config", str(file), "--device", device, RERANK),
                        f"reid.root={new.root}",
                        f"model.init_from={starts[kind].folder}",
                        f"misc.seed={seed}",
                    ),
                    processes,
                )
                for seed in seeds
            ]
    return list(starts.values()), runs


def to_table(runs: dict[str, list[Run]]) -> str:
    """A markdown table, mean ± deviation: without re-ranking, then with it."""
    titles = [f"{metric}{row.removeprefix(ROWS[0])}" for row in ROWS for metric in METRICS]
    lines = [f"| | {' | '.join(titles)} |", f"|---|{'---:|' * len(titles)}"]
    for name, row in runs.items():
        found = [next(iter(run.results().values())) for run in row]
        cells = [
            str(summarise([results[direction][metric] for results in found]))
            for direction in ROWS
            for metric in METRICS
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
