"""Ways of tuning a small CLIP, their gain on other people and their cost: the table of
docs/tuning.md.

python -m benchmarks.transfer --output runs/transfer --jobs 2

A small CLIP is pretrained with plain ITC on one synthetic dataset. Then it is fine-tuned as a
whole, by LoRA, by prompts, by adapters and by both (CSKT) on another, harder one. Given the same
--output again, runs that have ended are not repeated.
"""

import argparse
import json
import sys

from benchmarks.pedestrians import draw_easy, draw_hard
from benchmarks.sweep import (
    ROOT,
    Plan,
    add_jobs,
    data_settings,
    format_markdown,
    pretraining,
    run_sweep,
    summarise_runs,
    sweep_parser,
)
from misc.retrieval.report import summarise
from misc.runtime.script import Parser, run_script
from misc.sweep.run import Run, of_seeds

RECIPE = str(ROOT / "benchmarks" / "tuned.yaml")
NONE = ("prompts.n_ctx=0", "adapters.towers=[]")
ADAMW = "schedule={optimizer: adamw, eps: 1e-8, decayed: matrices, bias_factor: 1}"
METRICS = ("R1", "mAP")
ROWS = {
    "full fine-tuning": (*NONE, ADAMW, "schedule.lr=3e-4"),
    "LoRA": (*NONE, "lora={rank: 8, targets: [attention, mlp]}", ADAMW, "schedule.lr=1e-3"),
    "prompts": ("adapters.towers=[]", "schedule.lr=3e-3"),
    "adapters": ("prompts.n_ctx=0", "schedule.lr=3e-3"),
    "prompts and adapters (CSKT)": ("schedule.lr=3e-3",),
}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = sweep_parser("transfer", "Ways of tuning a small CLIP.", "transfer")
    add_jobs(parser)
    return parser


def _run(asked: argparse.Namespace) -> None:
    run_sweep(asked, plan, to_table)


def plan(asked: argparse.Namespace) -> Plan:
    """Draw the data; the pretraining, which is tested on the new data, too, and each way's runs."""
    output = asked.output
    easy, hard = draw_easy(output / "data", 3000), draw_hard(output / "data")
    annotations, root = hard.processed.resolve(), hard.image_root.resolve()
    there = f"data.test_sets=[{{name: new, annotation_file: {annotations}, image_root: {root}}}]"
    start = pretraining(
        output / "start", easy, asked.device, "data.normalize=clip", "schedule.epoch=5", there
    )
    common = ("--config", RECIPE, "--device", asked.device, *data_settings(hard))
    init = f"model.init_from={start.folder}"
    rows = {
        name: of_seeds(output / str(number), asked.seeds, (*common, *settings, init))
        for number, (name, settings) in enumerate(ROWS.items())
    }
    return Plan([start], rows)


def to_table(planned: Plan) -> str:
    """A markdown table, text to image, mean ± deviation; speed and memory also as a share of full
    fine-tuning's.
    """
    (start,) = planned.starts
    before = list(start.results().values())[-1]["text to image"]
    rows = [["before tuning", *(f"{before[metric]:.2f}" for metric in METRICS), "", "", ""]]
    full: tuple[float, float] | None = None
    for name, runs in planned.rows.items():
        costs = [_costs(run) for run in runs]
        speed, memory = (summarise([cost[i] for cost in costs]).mean for i in (1, 2))
        full = full or (speed, memory)
        rows.append(
            [
                name,
                *summarise_runs(runs, "text to image", METRICS),
                f"{costs[0][0]:,}",
                f"{speed:.0f} ({speed / full[0]:.2f})",
                f"{memory:.2f} GiB ({memory / full[1]:.2f})",
            ]
        )
    titles = (*METRICS, "trained parameters", "samples/s", "peak memory")
    return format_markdown(titles, rows)


def _costs(run: Run) -> tuple[int, float, float]:
    """Trained parameters, median samples/s and peak GiB, from the run's record."""
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").open(encoding="utf-8")]
    steps = [row for row in rows if "loss" in row]
    speed = sorted(row["samples_per_second"] for row in steps)[len(steps) // 2]
    return steps[0]["trained_parameters"], speed, max(row["peak_memory_gib"] for row in steps)


if __name__ == "__main__":
    sys.exit(main())
