"""Methods of text-based person search from one small CLIP, on right and on wrong captions: a fair
table.

python -m benchmarks.methods --output runs/methods --jobs 2
python -m benchmarks.methods --output runs/methods --methods ITC IRRA --rates 0 --seeds 0

A small CLIP is pretrained with plain ITC on one synthetic dataset, briefly, so that it has
something left to learn. Each method fine-tunes it on few people of another, harder one, for so long
that it could learn them by heart, also with a share of the captions given to other pictures. Data,
batch, image augmentation, optimizer, learning rate and epochs are the same for all
(benchmarks/fair); losses, modules and the treatment of captions are the method's own. The last
epoch is tested. Given the same --output again, runs that have ended are not repeated: the table may
be made in parts.
"""

import argparse
import json
import re
import sys
from itertools import pairwise
from statistics import fmean

import options
from benchmarks.pedestrians import draw_easy, draw_few
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
from misc.runtime.script import Parser, positive, run_script
from misc.sweep.run import Run, of_seeds

RECIPES = ROOT / "benchmarks" / "fair"
METHODS = {
    "ITC": "itc",
    "TBPS-CLIP (simplified)": "tbps_clip_simplified",
    "TBPS-CLIP (simplified), not augmented": "tbps_clip_plain",
    "TBPS-CLIP (simplified), divided": "tbps_clip_divided",
    "TBPS-CLIP": "tbps_clip",
    "IRRA": "irra",
    "RDE": "rde",
    "RDE, divided by ITC": "rde_itc",
    "RDE, divided by the truth": "rde_truth",
    "CSKT": "cskt",
    "LoRA with ITC": "lora",
}
NOISE = "data.noise.rate"  # the share of captions that are given to other pictures
METRICS = ("R1", "mAP")


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = sweep_parser("methods", "Methods from one small CLIP, with wrong captions.", "methods")
    add_jobs(parser)
    add = parser.add_argument
    names = list(METHODS)
    add("--methods", nargs="+", choices=names, default=names, metavar="NAME", help="default: all")
    about = "shares of wrong captions (default: 0 0.2 0.5)"
    add("--rates", type=float, nargs="+", default=[0.0, 0.2, 0.5], metavar="R", help=about)
    for name, default, about in (
        ("people", 300, "people to fine-tune on"),
        ("tested", 300, "other people, who are searched for"),
        ("epochs", 30, "of each fine-tuning"),
        ("pretraining-people", 3000, "people to pretrain on"),
        ("pretraining-epochs", 2, "of the pretraining"),
    ):
        known = f"{about} (default: {default})"
        add(f"--{name}", type=positive, default=default, metavar="N", help=known)
    return parser


def _run(asked: argparse.Namespace) -> None:
    run_sweep(asked, plan, to_table)


def plan(asked: argparse.Namespace) -> Plan:
    """Draw the data; the pretraining, and the runs of each method at each rate.

    Raises:
        InputError: a recipe is missing, or names a key that there is not.
    """
    rates = {f"{100 * rate:g} % wrong" if rate else "clean": rate for rate in asked.rates}
    settings = {
        f"{name}, {title}": (
            *("--config", str(RECIPES / f"{METHODS[name]}.yaml"), "--device", asked.device),
            f"schedule.epoch={asked.epochs}",
            *([f"{NOISE}={rate}"] if rate else []),
        )
        for name in asked.methods
        for title, rate in rates.items()
    }
    for words in settings.values():  # before anything is drawn
        options.parse(words).configure()
    output = asked.output
    easy = draw_easy(output / "data", asked.pretraining_people)
    few = draw_few(output / "data", asked.people, asked.tested)
    epochs = f"schedule.epoch={asked.pretraining_epochs}"
    start = pretraining(output / "start", easy, asked.device, "data.normalize=clip", epochs)
    common = (*data_settings(few), f"model.init_from={start.folder}")
    rows = {
        row: of_seeds(output / re.sub(r"\W+", "-", row), asked.seeds, (*words, *common))
        for row, words in settings.items()
    }
    return Plan([start], rows)


def to_table(planned: Plan) -> str:
    """A markdown table, text to image: R1 and mAP, mean ± deviation, and the seconds of a training
    alone.
    """
    rows = (
        (row, *summarise_runs(runs, "text to image", METRICS), f"{fmean(map(seconds, runs)):.0f}")
        for row, runs in planned.rows.items()
    )
    return format_markdown((*METRICS, "seconds"), rows)


def seconds(run: Run) -> float:
    """The time of all training steps and of the divisions before the epochs, from the run's record;
    a resumption does not count twice. Older records have no divisions.
    """
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").open(encoding="utf-8")]
    steps = [row for row in rows if "samples_per_second" in row]
    batch = options.parse(run.arguments).configure().data.batch_size
    done = [0, *(row["step"] for row in steps)]
    trained = sum(
        (last - first) * batch / row["samples_per_second"]
        for (first, last), row in zip(pairwise(done), steps, strict=True)
    )
    divided = {row["epoch"]: row["division_seconds"] for row in rows if "division_seconds" in row}
    return trained + sum(divided.values())


if __name__ == "__main__":
    sys.exit(main())
