"""One model for sentences and pictures, or two: the table of docs/both.md.

python -m benchmarks.both --output runs/both

A small CLIP is pretrained with plain ITC on described pedestrians. From there others, who are
described and re-identified, train two models, one for each task; one model whose class token is for
both; and one with two class tokens. All take the same number of steps, of 64 pairs, of 64 pictures,
or of both. The last epoch is tested. Given the same --output again, runs that have ended are not
repeated.
"""

import argparse
import sys
from collections.abc import Sequence

from benchmarks.pedestrians import draw_both, draw_easy
from benchmarks.sweep import (
    ROOT,
    Plan,
    Run,
    add_jobs,
    data_settings,
    format_markdown,
    pretraining,
    run_sweep,
    sweep_parser,
)
from misc.retrieval.report import summarise
from misc.runtime.checkpoint import LAST, open_checkpoint
from misc.runtime.script import Parser, positive, run_script
from misc.sweep.run import of_seeds

RECIPES = ROOT / "benchmarks" / "both"
CAPTIONS = 2  # of each picture: an epoch of pairs is so many of pictures
TEXT, REID = "text", "reid"
ONE_MODEL = {"one model, shared token": "shared", "one model, two tokens": "routed"}
TITLES = ("text R1", "re-identification mAP", "parameters (M)", "features (bytes per picture)")
# What encodes: all but the heads that only losses read.
ENCODERS = ("clip.", "visual.")


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = sweep_parser("both", "One model for sentences and pictures, or two.", "both")
    add_jobs(parser)
    for name, default, about in (
        ("people", 320, "people to train on; a third as many are searched for"),
        ("epochs", 12, "of the pairs"),
        ("pretraining-people", 2000, "people to pretrain on"),
        ("pretraining-epochs", 4, "of the pretraining"),
    ):
        known = f"{about} (default: {default})"
        parser.add_argument(f"--{name}", type=positive, default=default, metavar="N", help=known)
    return parser


def _run(asked: argparse.Namespace) -> None:
    run_sweep(asked, plan, to_table)


def plan(asked: argparse.Namespace) -> Plan:
    """Draw the data; the pretraining, and the runs of each row."""
    output = asked.output
    easy = draw_easy(output / "data", asked.pretraining_people)
    described, pictures = draw_both(output / "data", asked.people)
    epochs = f"schedule.epoch={asked.pretraining_epochs}"
    start = pretraining(output / "start", easy, asked.device, "data.normalize=clip", epochs)
    pairs, root = data_settings(described), f"reid.root={pictures.root.resolve()}"

    def runs(name: str, recipe: str, epochs: int, *words: str) -> list[Run]:
        common = (f"model.init_from={start.folder}", f"schedule.epoch={epochs}")
        arguments = ("--config", str(RECIPES / f"{recipe}.yaml"), "--device", asked.device)
        return of_seeds(output / name, asked.seeds, (*arguments, *common, *words))

    rows = {
        TEXT: runs("text", "text", asked.epochs, *pairs),
        REID: runs("reid", "reid", CAPTIONS * asked.epochs, root, "schedule.epoch_warmup=2"),
    }
    for row, tokens in ONE_MODEL.items():
        tokens_setting = f"model.class_tokens={tokens}"
        rows[row] = runs(tokens, "both", asked.epochs, *pairs, root, tokens_setting)
    return Plan([start], rows)


def to_table(planned: Plan) -> str:
    """A markdown table: metrics as mean ± deviation, and what a model takes."""
    rows = planned.rows
    table = [_row("two models", rows[TEXT], rows[REID])]
    table += [_row(name, rows[name], rows[name]) for name in ONE_MODEL]
    return format_markdown(TITLES, table)


def _row(name: str, text: Sequence[Run], reid: Sequence[Run]) -> tuple[str, ...]:
    """The cells of a row.

    Args:
        text, reid: the runs that are searched by sentences, and by pictures.
    """
    models = [text[0]] if text is reid else [text[0], reid[0]]
    parameters = sum(map(count_parameters, models)) / 1e6
    return (
        name,
        _metric(text, "text to image", "R1"),
        _metric(reid, "image to image", "mAP"),
        f"{parameters:.2f}",
        str(4 * _dimensions(reid[0])),
    )


def _metric(runs: Sequence[Run], direction: str, metric: str) -> str:
    found = [
        results[direction][metric]
        for run in runs
        for results in run.results().values()
        if direction in results
    ]
    return str(summarise(found))


def count_parameters(run: Run) -> int:
    """The values of a run's model that encode."""
    state = open_checkpoint(run.folder / LAST).state
    return sum(tensor.numel() for name, tensor in state.items() if name.startswith(ENCODERS))


def _dimensions(run: Run) -> int:
    """Numbers that indexes keep of a picture: its feature for sentences, and the last two of
    re-identification.
    """
    architecture = open_checkpoint(run.folder / LAST).architecture
    return architecture.vision.width + 2 * architecture.embed_dim


if __name__ == "__main__":
    sys.exit(main())
