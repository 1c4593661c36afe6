"""Values that are not finite, put into a loss, a gradient or a parameter of a short training."""

import json
import math
import re
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from unittest.mock import patch

from torch import Tensor

import main
import options
from errors import InputError
from misc.runtime.checkpoint import LAST, open_checkpoint
from misc.synthetic.writing import write_dataset
from misc.training import engine
from misc.training.trainer import Trainer
from model.interface import Batch
from tests.conftest import SMALL

COUNT, SAMPLE = 30, 3
STEPS = 10  # of two epochs
DEMO = str(options.RECIPES / "demo.yaml")


@cache
def places() -> tuple[str, str]:
    """A dataset of 40 captions: 5 steps an epoch."""
    drawn = write_dataset(
        "cuhk-pedes",
        Path(tempfile.mkdtemp(prefix="injections-")),
        identities={"train": 10, "val": 3, "test": 3},
        images=(2, 2),
        height=(40, 48),
    )
    return f"data.annotation_file={drawn.processed}", f"data.image_root={drawn.image_root}"


def train(folder: Path, *words: str) -> None:
    few = ("schedule.epoch=2", "log.print_period=2", "log.save_period=2", "log.max_bad_steps=3")
    quick = ("evaluation.ranked_lists=0", "experiment.augment_image=false")
    arguments = ["--config", DEMO, "--output", str(folder / "run"), *SMALL, *places()]
    main.run(options.parse([*arguments, *few, *quick, *words]))


def is_finite(tree: dict[str, Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tree.values())


def case(random: Random, folder: Path) -> None:
    """One injection: no checkpoint with it is saved, and the run goes on or ends in a sentence."""
    where = random.choice(["loss", "gradient", "parameter"])
    precision = random.choice(["fp32", "bf16", "fp16"])
    value, chosen = random.choice([math.nan, math.inf, -math.inf]), random.randrange(STEPS)
    backward, losses, save = Trainer.backward, Trainer._losses, engine.save_checkpoint

    def poison(tensors: list[Tensor]) -> None:
        tensor = random.choice(tensors).detach().view(-1)
        tensor[random.randrange(len(tensor))] = value

    def backward_too(self: Trainer, batch: Batch, step: int) -> object:
        if where == "parameter" and step == chosen:
            poison(list(self.trained))
        found = backward(self, batch, step)
        if where == "gradient" and step == chosen:
            poison([p.grad for p in self.trained if p.grad is not None])
        return found

    def losses_too(self: Trainer, outputs: object, batch: Batch, step: int) -> object:
        found, total = losses(self, outputs, batch, step)
        return found, total + value if where == "loss" and step == chosen else total

    def save_too(content: dict, file: Path) -> None:
        assert is_finite(content["model"]), "weights that are not finite are saved"
        save(content, file)

    with (
        patch.object(Trainer, "backward", backward_too),
        patch.object(Trainer, "_losses", losses_too),
        patch.object(engine, "save_checkpoint", save_too),
    ):
        try:
            train(folder, f"experiment.precision={precision}")
        except InputError as error:
            if where != "parameter":
                raise AssertionError("a step that could be skipped ends the run") from error
            check_sentence(str(error), folder / "run" / LAST)
            raise
    assert where != "parameter", "a parameter that is not finite goes unnoticed"
    rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").open()]
    skipped = [row["step"] for row in rows if "skipped" in row]
    is_overflow = where == "gradient" and precision == "fp16"  # as of a scale that is too high
    assert skipped == ([] if is_overflow else [chosen + 1])
    assert open_checkpoint(folder / "run" / LAST).training.position.step == STEPS


def check_sentence(sentence: str, last: Path) -> None:
    """The checkpoint that the sentence names is there, is finite, and of that step."""
    if "no checkpoint was saved before" in sentence:
        assert not last.exists()
        return
    named = re.search(r"(\S+) is kept, from epoch (\d+), step (\d+)$", sentence)
    assert named, sentence
    kept = open_checkpoint(Path(named[1]))
    assert kept.file == last
    assert is_finite(kept.state)
    position = kept.training.position
    assert (position.epoch, position.step) == (int(named[2]), int(named[3]))
