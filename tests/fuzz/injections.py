"""Values that are not finite, put into a loss, a gradient or a parameter of a short training, in
its only process or in one of two.
"""

import json
import math
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random
from unittest.mock import patch

from torch import Tensor

import main
import options
from errors import InputError
from misc.runtime.checkpoint import BEST, LAST, open_checkpoint
from misc.synthetic.writing import write_dataset
from misc.training import engine
from misc.training.trainer import Trainer
from model.interface import Batch
from tests.command_line import latest, parse
from tests.conftest import SMALL
from tests.fuzz import _runs

COUNT, SAMPLE = 30, 3
LONGEST = 120.0  # seconds of a case, of two processes
STEPS = 10  # of two epochs
DEMO = str(options.RECIPES / "demo.yaml")


@dataclass(frozen=True)
class Injection:
    """A value that is not finite, put somewhere into one step.

    Args:
        where: `loss`, `gradient` or `parameter`.
        step: counted from 0.
        rank: of the process that has it.
        seed: of the choice among gradients or parameters.
    """

    where: str
    value: float
    step: int
    rank: int
    seed: int

    @contextmanager
    def active(self) -> Iterator[None]:
        """Train with it; no checkpoint with such a value is saved."""
        backward, losses, save = Trainer.backward, Trainer._losses, engine.save_checkpoint
        random = Random(self.seed)

        def is_due(trainer: Trainer, step: int, where: str) -> bool:
            own = self.where, self.step, self.rank
            return own == (where, step, trainer.processes.rank)

        def poison(tensors: list[Tensor]) -> None:
            tensor = random.choice(tensors).detach().view(-1)
            tensor[random.randrange(len(tensor))] = self.value

        steps: list[int] = []

        def backward_too(trainer: Trainer, batch: Batch, step: int) -> object:
            steps.append(step)
            if is_due(trainer, step, "parameter"):
                poison(list(trainer.trained))
            found = backward(trainer, batch, step)
            if is_due(trainer, step, "gradient"):
                poison([p.grad for p in trainer.trained if p.grad is not None])
            return found

        def losses_too(trainer: Trainer, outputs: object, batch: Batch, progress: float) -> object:
            found, total = losses(trainer, outputs, batch, progress)
            return found, total + self.value if is_due(trainer, steps[-1], "loss") else total

        def save_too(content: dict, file: Path) -> None:
            assert is_finite(content["model"]), "weights that are not finite are saved"
            save(content, file)

        with (
            patch.object(Trainer, "backward", backward_too),
            patch.object(Trainer, "_losses", losses_too),
            patch.object(engine, "save_checkpoint", save_too),
        ):
            yield


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


def arguments(folder: Path, *words: str) -> list[str]:
    few = ("schedule.epoch=2", "log.print_period=2", "log.save_period=2", "log.max_bad_steps=3")
    quick = ("evaluation.ranked_lists=0", "experiment.augment_image=false")
    recipe = ("--config", DEMO, "--output", str(folder / "run"), *SMALL, *places())
    return latest([*recipe, *few, *quick, *words])


def train_alone(injection: Injection, words: Sequence[str]) -> None:
    with injection.active():
        main.run(parse(words))


def train_in_pair(injection: Injection, words: Sequence[str], log: Path) -> None:
    """Two processes, whose error is raised here."""
    ends = _runs.statuses(_runs.start(2, words, log, partial(Injection.active, injection)))
    output = log.read_text()
    assert "Traceback" not in output, output
    sentences = re.findall(r"^error: (.*)$", output, re.MULTILINE)
    assert [bool(end) for end in ends] == [bool(sentences)] * 2, (ends, output)
    assert len(sentences) <= 1, sentences
    if sentences:
        raise InputError(sentences[0])


def is_finite(tree: dict[str, Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tree.values())


def case(random: Random, folder: Path) -> None:
    """One injection: no checkpoint with it is saved, and the run goes on or ends in a sentence."""
    where, ranks = random.choice(["loss", "gradient", "parameter"]), random.choice([1, 1, 2])
    precision = random.choice(["fp32", "bf16", "fp16"])
    value = random.choice([math.nan, math.inf, -math.inf])
    chosen, rank = random.randrange(STEPS), random.randrange(ranks)
    injection = Injection(where, value, chosen, rank, random.randrange(2**32))
    words = [f"experiment.precision={precision}", f"data.batch_size={8 // ranks}"]
    words, last = arguments(folder, *words), folder / "run" / LAST
    try:
        if ranks == 1:
            train_alone(injection, words)
        else:
            train_in_pair(injection, words, folder / "log")
    except InputError as error:
        if where != "parameter":
            raise AssertionError("a step that could be skipped ends the run") from error
        check_sentence(str(error), last)
        raise
    assert where != "parameter" or rank, "a parameter that is not finite goes unnoticed"
    assert all(is_finite(open_checkpoint(folder / "run" / name).state) for name in (LAST, BEST))
    rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").open()]
    skipped = [row["step"] for row in rows if "skipped" in row]
    # As of a scale that is too high; or the second process has not needed the parameter.
    is_unnoticed = (where == "gradient" and precision == "fp16") or (
        where == "parameter" and not skipped
    )
    assert skipped == ([] if is_unnoticed else [chosen + 1])
    assert open_checkpoint(last).training.position.step == STEPS


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
