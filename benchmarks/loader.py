"""The loader of training batches against the plain form of its augmentations, on one core.

python -m benchmarks.loader --output benchmarks/results/loader.json

The full recipe of TBPS-CLIP makes two training views and two SimCLR views of each image. The plain
form decodes with Pillow and calls torchvision's transforms for each view, as published code does;
ours has captions beside them. All take turns, batch by batch, and the median of their CPU time
counts.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, cycle, islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image, ImageFilter
from torch import Tensor
from torch.utils.data import default_collate
from torchvision import transforms as T
from tqdm import tqdm

import options
from benchmarks.records import RECORD, Record, Row, against_bar
from misc.data.loader import Trainable, TrainLoader
from misc.data.samplers import GlobalBatchSampler
from misc.runtime.script import Parser, positive, run_script
from misc.synthetic.writing import write_dataset
from misc.tasks.pictures import PictureReader
from misc.tasks.text.data import build_collate, build_training_set, read_text_data
from text_utils.tokenizer import ClipTokenizer

BATCH = 16
STATISTICS = T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


class Plain(NamedTuple):
    """The transforms of a training view and of a SimCLR view, as commonly written."""

    resize: Callable[[Image.Image], Tensor]
    pool: list[Callable[[Tensor], Tensor]]
    simclr: Callable[[Image.Image], Tensor]

    def __call__(self, file: str, rng: Generator) -> list[Tensor]:
        picture = Image.open(file).convert("RGB")
        views = []
        for _ in range(2):
            image = self.resize(picture)
            for choice in rng.integers(len(self.pool), size=2):
                image = self.pool[choice](image)
            views.append(STATISTICS(image))
        return [*views, self.simclr(picture), self.simclr(picture)]


def plain_transforms(size: tuple[int, int]) -> Plain:
    """The transforms that TBPS-CLIP's recipe describes."""
    rng = np.random.default_rng(1)
    blur = T.Lambda(lambda picture: picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 2.0))))
    return Plain(
        T.Compose([T.Resize(size), T.ToTensor()]),
        [
            T.ColorJitter(0.1, 0.1, 0.1, 0),
            T.RandomRotation(15),
            T.RandomResizedCrop(size, (0.9, 1.0), antialias=True),
            T.RandomGrayscale(0.1),
            T.RandomHorizontalFlip(),
            T.RandomErasing(scale=(0.1, 0.2)),
        ],
        T.Compose(
            [
                T.RandomResizedCrop(size, (0.2, 1.0)),
                T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
                T.RandomGrayscale(0.2),
                T.RandomApply([blur], p=0.5),
                T.RandomHorizontalFlip(),
                T.ToTensor(),
                STATISTICS,
            ]
        ),
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(prog="python -m benchmarks.loader", description="Samples a second of a core.")
    add = parser.add_argument
    add("--output", type=RECORD, required=True, metavar="FILE", help="JSON")
    add("--batches", type=positive, default=24, metavar="N", help="of each (default: 24)")
    add("--people", type=positive, default=60, metavar="N", help="drawn (default: 60)")
    add("overrides", nargs="*", metavar="section.key=value", help="settings of the recipe")
    return parser


def _run(asked: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        written = write_dataset(
            "cuhk-pedes",
            Path(folder),
            identities={"train": asked.people, "test": 4},
            images=(2, 2),
            height=(384, 384),
        )
        data = (
            f"data.annotation_file={written.annotation_file}",
            f"data.image_root={written.image_root}",
        )
        seconds = measure((*data, *asked.overrides), asked.batches)
    record = Record(asked.output, torch.device("cpu"), seconds=math.inf)
    for name, row in to_rows(seconds).items():
        record.add(name, row)


def measure(overrides: Sequence[str], batches: int) -> dict[str, float]:
    """Seconds of a batch, by way of making it."""
    config = options.parse([*overrides]).configure()
    pictures = read_text_data(config).splits["train"][""]
    plain, rng = plain_transforms(config.data.image_size), np.random.default_rng(0)
    turns: dict[str, Iterator[object]] = {
        "plain": (
            default_collate(
                [plain(pictures[i].path, rng) for i in rng.integers(len(pictures), size=BATCH)]
            )
            for _ in cycle([None])
        ),
        "cpu": batches_of(overrides),
        "workers": batches_of((*overrides, "data.augment_on=device")),
    }
    cpu = torch.device("cpu")
    drawn = [*islice(batches_of((*overrides, "data.augment_on=device")), 4)]
    turns["device"] = (drawn[number].to(cpu) for number in cycle(range(len(drawn))))
    times: dict[str, list[float]] = {name: [] for name in turns}
    for _ in tqdm(range(batches), desc="batches", leave=False, disable=None):
        for name, turn in turns.items():
            start = time.thread_time()
            next(turn)
            times[name].append(time.thread_time() - start)
    return {name: median(each) for name, each in times.items()}


def batches_of(overrides: Sequence[str]) -> Iterator[Trainable]:
    """The batches of the training set, without end."""
    config = options.parse([*overrides]).configure()
    data = read_text_data(config)
    reader = PictureReader(config.data, [])
    dataset = build_training_set(config, data, reader)
    sampler = GlobalBatchSampler(len(dataset), BATCH)
    loader = TrainLoader(
        dataset,
        build_collate(config, ClipTokenizer(), 77),
        sampler,
        num_workers=0,
        pin_memory=False,
    )
    for epoch in count():
        loader.start(epoch)
        yield from loader


def to_rows(seconds: Mapping[str, float]) -> dict[str, Row]:
    """Samples a second as multiples of the plain form's, and the time of the device's share."""
    plain, ours, workers = seconds["plain"], seconds["cpu"], seconds["workers"]
    return {
        "full recipe / plain form": against_bar(plain / ours, ">=", 2.0),
        "workers of data.augment_on=device / plain form": against_bar(plain / workers, ">=", 5.0),
        "time of data.augment_on=device, all on this CPU / of cpu": against_bar(
            (workers + seconds["device"]) / ours, "<=", 1.0
        ),
        "full recipe": {"samples a second of a core": BATCH / ours},
    }


if __name__ == "__main__":
    sys.exit(main())
