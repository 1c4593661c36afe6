"""What tuning a part of a small CLIP brings on other people, and what it costs; the table of
docs/tuning.md.

python -m benchmarks.transfer --output runs/transfer --jobs 2

A small CLIP is trained with plain contrast on one synthetic dataset. Then it is fine-tuned whole,
by LoRA, by prompts, by adapters and by both (CSKT) on another, harder one. Given the same --output
again, the runs that are there are not repeated.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.ablation import OFF, write_data
from benchmarks.sweep import ROOT, Run, make_all, places
from errors import InputError
from misc.retrieval.report import summarise
from misc.runtime.script import run_script

SMALL = str(ROOT / "benchmarks" / "small.yaml")
RECIPE = str(ROOT / "benchmarks" / "tuned.yaml")
NONE = ("prompts.n_ctx=0", "adapters.towers=[]")
ADAMW = "schedule={optimizer: adamw, eps: 1e-8, decayed: matrices, bias_factor: 1}"
ROWS = {
    "full fine-tuning": (*NONE, ADAMW, "schedule.lr=3e-4"),
    "LoRA": (*NONE, "lora={rank: 8, targets: [attention, mlp]}", ADAMW, "schedule.lr=1e-3"),
    "prompts": ("adapters.towers=[]", "schedule.lr=3e-3"),
    "adapters": ("prompts.n_ctx=0", "schedule.lr=3e-3"),
    "prompts and adapters (CSKT)": ("schedule.lr=3e-3",),
}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    asked = _parser().parse_args(arguments)
    return run_script(lambda: _run(asked))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transfer", description="Ways of tuning a small CLIP."
    )
    add = parser.add_argument
    add("--output", type=Path, default=Path("runs/transfer"), metavar="DIR", help="of all runs")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    add("--jobs", type=int, default=1, metavar="N", help="runs at a time (default: 1)")
    add("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: cpu)")
    return parser


def _run(asked: argparse.Namespace) -> None:
    if asked.jobs < 1 or len({*asked.seeds}) < len(asked.seeds):
        raise InputError("give at least one of --jobs, and each of --seeds once")
    start, runs = plan(asked.output.resolve(), asked.seeds, asked.device)
    make_all([start])
    make_all([run for row in runs.values() for run in row], asked.jobs)
    table = to_table(start, runs)
    (asked.output / "transfer.md").write_text(table, encoding="utf-8")
    print(table, end="")


def plan(output: Path, seeds: list[int], device: str) -> tuple[Run, dict[str, list[Run]]]:
    """Draws the data; the pretraining, which is tested on the new data, too, and all rows' runs."""
    known, new = write_data(output / "data")
    contrast = (f"experiment.{key}={value}" for key, value in (OFF | {"itc": "true"}).items())
    annotations, root = (place.partition("=")[2] for place in places(new))
    there = f"data.test_sets=[{{name: new, annotation_file: {annotations}, image_root: {root}}}]"
    start = Run(
        output / "start",
        (
            *("--config", SMALL, "--device", device, "data.normalize=clip", "schedule.epoch=5"),
            *(*contrast, *places(known), there),
        ),
    )
    runs = {
        name: [
            Run(
                output / f"{row}-{seed}",
                (
                    *("--config", RECIPE, "--device", device, *places(new), *words),
                    *(f"model.init_from={start.folder}", f"misc.seed={seed}"),
                ),
            )
            for seed in seeds
        ]
        for row, (name, words) in enumerate(ROWS.items())
    }
    return start, runs


def to_table(start: Run, runs: dict[str, list[Run]]) -> str:
    """A markdown table, text to image, mean ± deviation; speed and memory as shares of the first
    row's.
    """
    before = list(start.results().values())[-1]["text to image"]
    lines = [
        "| | R1 | mAP | trained parameters | samples/s | peak memory |",
        "|---|---:|---:|---:|---:|---:|",
        f"| before | {before['R1']:.2f} | {before['mAP']:.2f} | | | |",
    ]
    whole: tuple[float, float] | None = None
    for name, row in runs.items():
        found = [next(iter(run.results().values()))["text to image"] for run in row]
        scores = [
            str(summarise([metrics[metric] for metrics in found])) for metric in ("R1", "mAP")
        ]
        costs = [_costs(run) for run in row]
        speed, memory = (summarise([cost[i] for cost in costs]).mean for i in (1, 2))
        whole = whole or (speed, memory)
        lines.append(
            f"| {name} | {' | '.join(scores)} | {costs[0][0]:,} | {speed:.0f} "
            f"({speed / whole[0]:.2f}) | {memory:.2f} GiB ({memory / whole[1]:.2f}) |"
        )
    return "\n".join(lines) + "\n"


def _costs(run: Run) -> tuple[int, float, float]:
    """Trained parameters, samples a second and GiB at most, as the run has recorded them."""
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").open(encoding="utf-8")]
    steps = [row for row in rows if "loss" in row]
    speed = sorted(row["samples_per_second"] for row in steps)[len(steps) // 2]
    return steps[0]["trained_parameters"], speed, max(row["peak_memory_gib"] for row in steps)


if __name__ == "__main__":
    sys.exit(main())
