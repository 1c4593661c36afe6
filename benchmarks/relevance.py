"""Relevance maps of colour words, against the masks of the drawing: the table in docs/report.md.

python -m benchmarks.relevance --run runs/demo

The maps are those of `python -m misc.report`, on captions of a run's test split that name the
colour of a plain garment. The share of the colour word's weight that lies on the garment is
compared with the garment's share of the picture, and with the share that the colour words of the
person's other garments put there.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

import options
from benchmarks.sweep import format_markdown
from errors import InputError
from misc.job import Job
from misc.report.relevance import image_tower, prepare, words_on_picture
from misc.retrieval.text import TextRetrieval
from misc.runtime.checkpoint import BEST, LAST, open_checkpoint
from misc.runtime.distributed import processes
from misc.runtime.script import Parser, given_path, positive, run_script
from misc.synthetic.pedestrians.attributes import Person, draw_identity
from misc.synthetic.pedestrians.english import ENGLISH
from misc.synthetic.pedestrians.masks import GARMENTS, draw_masks
from misc.synthetic.pedestrians.plan import Plan
from misc.synthetic.pedestrians.samples import draw_visits
from misc.synthetic.writing import read_plan
from misc.tasks.text.task import TextTask
from model.tbps_clip import TBPSCLIP
from model.vit import VisionTransformer


class Phrase(NamedTuple):
    """A garment in a caption: its name in `Person`, and where its colour stands."""

    garment: str
    start: int
    end: int


class Measurement(NamedTuple):
    """Shares of a garment, between 0 and 1: of the picture, of the weight of its colour word, and
    of that of each other colour word in the caption.
    """

    garment: str
    picture: float
    own: float
    others: list[float]


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.relevance",
        description="The share of a colour word's weight that lies on the garment it names.",
    )
    add = parser.add_argument
    add("--run", type=given_path, required=True, metavar="RUN", help="trained on drawn pedestrians")
    add("--captions", type=positive, default=200, metavar="N", help="default: 200")
    add("--seed", type=int, default=0, help="of the captions that are drawn (default: 0)")
    add("--device", default=None, help="cpu, cuda, cuda:1 ... (default: a GPU, if there is one)")
    add("overrides", nargs="*", metavar="section.key=value", help="settings over the run's")
    return parser


def _run(asked: argparse.Namespace) -> None:
    found = measure(asked.run, asked.overrides, asked.captions, asked.seed, asked.device)
    if not found:
        raise InputError(f"{asked.run}: no caption of its test split names a plain garment")
    print(f"{len(found)} colour words in {asked.captions} captions\n")
    print(to_table(found), end="")


def measure(
    run: Path, overrides: list[str], count: int, seed: int, device: str | None
) -> list[Measurement]:
    """Shares of the garments that captions of a run's test split name by their colour.

    Raises:
        InputError: the run's pictures were not drawn, or its image tower shows no attention.
    """
    checkpoint = open_checkpoint(run, BEST, LAST, ours_only=True)
    config = options.parse(overrides).configure(checkpoint.config)
    with processes(device, config.distributed.backend) as own:
        job = Job(config, checkpoint.recipe, own, checkpoint, for_training=False)
        task, model = job.task, job.model.eval()
        if not isinstance(task, TextTask) or not isinstance(model, TBPSCLIP):
            raise InputError(f"{run} finds pictures by pictures; give a run that reads sentences")
        tower = image_tower(model)
        if tower is None:
            raise InputError(f"{run}: the attention of its image tower cannot be read")
        root = Path(str(config.data.image_root))
        plan = read_plan(root.parent)
        drawn = _numbers(plan)
        pictures = next(iter(task.data.splits["test"].values()))
        described = [(Path(one.path), caption) for one in pictures for caption in one.captions]
        chosen = np.random.default_rng(seed).permutation(len(described))[:count].tolist()
        reader = Reader(model, tower, task.build_retrieval("test"))
        found = []
        for file, caption in (described[index] for index in chosen):
            number = drawn[file.resolve().relative_to(root.resolve()).as_posix()]
            person = draw_identity(plan.seed, number[0], plan.difficulty)
            found += reader.measure(file, caption, person, draw_masks(plan, *number))
        return found


def _numbers(plan: Plan) -> dict[str, tuple[int, int]]:
    """Identity and number of each picture of a dataset, by path."""
    return {
        plan.published.file_path(split, identity, camera, number): (identity, number)
        for split, identity in plan.owners()
        for number, camera in enumerate(draw_visits(plan, identity))
    }


@dataclass(frozen=True)
class Reader:
    """A model that reads pictures and captions as its evaluation does."""

    model: TBPSCLIP
    tower: VisionTransformer
    retrieval: TextRetrieval

    def measure(
        self, file: Path, caption: str, person: Person, masks: dict[str, NDArray[np.bool_]]
    ) -> list[Measurement]:
        """The garments of a picture whose colour its caption names.

        Args:
            masks: of `draw_masks`.
        """
        phrases = [one for one in find_phrases(caption, person) if masks[one.garment].any()]
        if not phrases:
            return []
        without = [caption[: one.start] + caption[one.end :] for one in phrases]
        image, tokens = prepare(self.retrieval, file, [caption, *without])
        _, patches = words_on_picture(self.model, self.tower, image, tokens)
        shape = self.tower.shape
        sizes = shape.image_size, shape.patch_size, shape.stride
        covered = torch.stack([cover(masks[one.garment], *sizes) for one in phrases])
        shares = weight_on(patches, covered)
        return [
            Measurement(
                one.garment,
                float(masks[one.garment].mean()),
                float(shares[row, row]),
                [float(share) for other, share in enumerate(shares[:, row]) if other != row],
            )
            for row, one in enumerate(phrases)
        ]


def find_phrases(caption: str, person: Person) -> Iterator[Phrase]:
    """The plain garments of a person that an English caption names, exactly and with a colour."""
    for garment in GARMENTS:
        item = getattr(person, garment)
        if item is None or item.pattern != "plain":
            continue
        nouns = {noun.partition("{} ")[2] for noun in ENGLISH.nouns[item.kind] if "{} " in noun}
        colour, noun = (
            "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
            for words in (ENGLISH.colours[item.colour.name], nouns)
        )
        found = re.search(rf"(?<![\w-])({colour}) ({noun})(?![\w-])", caption, re.IGNORECASE)
        if found:
            yield Phrase(garment, found.start(1), found.end(1) + 1)


def cover(
    mask: NDArray[np.bool_], image_size: tuple[int, int], patch_size: int, stride: int
) -> Tensor:
    """The share of each patch that a mask covers, (rows, columns) of the grid."""
    pixels = torch.from_numpy(mask)[None, None].float()
    resized = F.interpolate(pixels, image_size, mode="bilinear", antialias=True)
    return F.avg_pool2d(resized, patch_size, stride)[0, 0]


def weight_on(patches: Tensor, covered: Tensor) -> Tensor:
    """The share of each of K words' weight that lies on each of K garments, (K, K).

    Args:
        patches: (K, rows, columns), relevance, at least 0.
        covered: (K, rows, columns), of `cover`.
    """
    weights = patches.flatten(1) / patches.flatten(1).sum(dim=1, keepdim=True).clamp(min=1e-12)
    return weights @ covered.flatten(1).T


def to_table(found: list[Measurement]) -> str:
    """A markdown table in percent, a row for each garment and one for all."""
    titles = (
        "colour words",
        "share of the picture",
        "of the word's weight",
        "ratio",
        "other words",
    )
    names = [name for name in GARMENTS if any(one.garment == name for one in found)]
    rows = [(name, [one for one in found if one.garment == name]) for name in names]
    return format_markdown(titles, ((name, *_cells(own)) for name, own in [*rows, ("all", found)]))


def _cells(found: list[Measurement]) -> Iterator[str]:
    picture, own = (fmean(getattr(one, name) for one in found) for name in ("picture", "own"))
    others = [(share, one.picture) for one in found for share in one.others]
    yield str(len(found))
    yield f"{100 * picture:.1f}"
    yield f"{100 * own:.1f}"
    yield f"{own / picture:.2f}"
    yield (
        f"{sum(share for share, _ in others) / sum(size for _, size in others):.2f}"
        if others
        else "-"
    )


if __name__ == "__main__":
    sys.exit(main())
