"""False alarms of a calibrated search on people that it has not seen: the table of docs/search.md.

python -m benchmarks.calibration --run runs/demo

A run's model is calibrated on the val split, and its thresholds are applied to the test split. Then
it is calibrated on some people of the val split alone, drawn several times, to see what a larger
gallery does to thresholds with and without the correction for its size.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

import options
from benchmarks.sweep import format_markdown
from errors import InputError
from misc.calibration import Calibration
from misc.job import Job
from misc.retrieval.calibration import KINDS, calibrate
from misc.retrieval.features import Features
from misc.runtime.checkpoint import BEST, LAST, open_checkpoint
from misc.runtime.distributed import processes
from misc.runtime.script import Parser, given_path, positive, run_script

FALSE_ALARMS = (0.01, 0.05, 0.1)
SPLITS = ("val", "test")


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.calibration",
        description="False alarms of a calibrated search on the test split.",
    )
    add = parser.add_argument
    known = "a checkpoint or a run's folder"
    add("--run", type=given_path, required=True, metavar="RUN", help=known)
    add("--parts", type=positive, default=5, metavar="N", help="of val's people (default: 5)")
    add("--draws", type=positive, default=20, metavar="N", help="of such a part (default: 20)")
    add("--device", default=None, help="cpu, cuda, cuda:1 ... (default: a GPU, if there is one)")
    add("overrides", nargs="*", metavar="section.key=value", help="settings over the run's")
    return parser


def _run(asked: argparse.Namespace) -> None:
    val, test = encode(asked.run, asked.device, asked.overrides)
    searched = calibrate(test)
    print(f"Calibrated on {_describe(val)}, measured on {_describe(test)}\n")
    print(to_table([calibrate(val)], searched))
    people = val.image_ids.unique()
    size = max(2, len(people) // asked.parts)
    parts = []
    for seed in range(asked.draws):
        drawn = np.random.default_rng(seed).choice(people.numpy(), size, replace=False)
        parts.append(calibrate(take_people(val, torch.from_numpy(drawn))))
    print(f"Calibrated on {size} people of val, mean of {asked.draws} draws\n")
    print(to_table(parts, searched))


def encode(run: Path, device: str | None, overrides: list[str]) -> tuple[Features, Features]:
    """The features of a run's val and test splits.

    Raises:
        InputError: there is no run, or its annotations lack one of the splits.
    """
    checkpoint = open_checkpoint(run, BEST, LAST, ours_only=True)
    config = options.parse(overrides).configure(checkpoint.config)
    with processes(device, config.distributed.backend) as own:
        job = Job(config, checkpoint.recipe, own, checkpoint, for_training=False)
        if absent := [split for split in SPLITS if split not in job.task.splits]:
            raise InputError(f"{run}: its annotations have no {' and no '.join(absent)} split")
        val, test = (job.task.calibration_features(job.model, split) for split in SPLITS)
    return val, test


def take_people(features: Features, people: torch.Tensor) -> Features:
    """The pictures and captions of some people."""
    images = torch.isin(features.image_ids, people).nonzero().flatten()
    texts = torch.isin(features.text_ids, people).nonzero().flatten()
    return replace(
        features,
        image=features.image[images],
        text=features.text[texts],
        image_ids=features.image_ids[images],
        text_ids=features.text_ids[texts],
        image_paths=tuple(features.image_paths[row] for row in images.tolist()),
        captions=tuple(features.captions[row] for row in texts.tolist()),
    )


def to_table(calibrations: list[Calibration], searched: Calibration) -> str:
    """A markdown table of percentages on a searched gallery, the means over calibrations.

    Args:
        searched: the calibration on that gallery, which knows its best hits.
    """
    titles = ("false alarms", "without correction for size", "right answers kept", "of")
    rows = (
        (f"{KINDS[name]}, {100 * share:g} %", *_cells(calibrations, searched, name, share))
        for name in searched.kinds
        for share in FALSE_ALARMS
    )
    return format_markdown(titles, rows)


def _cells(
    calibrations: list[Calibration], searched: Calibration, name: str, share: float
) -> Iterator[str]:
    found = searched.kinds[name]
    kinds = [calibration.kinds[name] for calibration in calibrations if name in calibration.kinds]
    corrected = [kind.threshold(share, found.gallery_size) for kind in kinds]
    for values in (
        map(found.false_alarms, corrected),
        (found.false_alarms(kind.threshold(share)) for kind in kinds),
        map(found.kept, corrected),
        [found.kept()],
    ):
        yield f"{100 * fmean(values):.1f}"


def _describe(features: Features) -> str:
    people = len(features.image_ids.unique())
    return f"{people} people, {len(features.image)} images, {len(features.text)} captions"


if __name__ == "__main__":
    sys.exit(main())
