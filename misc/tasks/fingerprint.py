"""A description of the data, by which a training, or a comparison, on other data is noticed."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from misc.runtime.checkpoint import LAST, open_checkpoint
from misc.settings.sections import Config
from misc.tasks.base import Labelled, Task
from misc.training.trainer import Stage
from model.trees import Tree

DIGITS = 12  # of a hash that is shown


def fingerprint(task: Task, stages: Sequence[Stage], selecting: str | None) -> Tree:
    """The number of samples, a hash of their paths and labels, and the global batch of each stage.

    Args:
        selecting: the split that chooses the best checkpoint, which has a hash of its own.
    """
    samplers = {stage.name: stage.loader.sampler for stage in stages}
    return {
        "samples": len(task.training_samples()),
        "hash": _hash(task.hashed_samples()),
        "batches": {name: s.batch_size * s.world_size for name, s in samplers.items()},
        "selection": selecting and _hash(task.evaluated_samples(selecting)),
    }


def trained_samples(folder: Path, config: Config) -> dict[str, str]:
    """The description that `checkpoint_last.pt` of a run's folder keeps, in words.

    Empty where there is none, or an older one without it; and where the seed draws the samples
    (noise, or the people of a folder), since runs of other seeds are then alike all the same.
    """
    datasets = config.reid.dataset, *(source.dataset for source in config.reid.train_sets)
    if config.data.noise.rate > 0 or "folder" in datasets or not (folder / LAST).is_file():
        return {}
    training = open_checkpoint(folder / LAST, ours_only=True).training
    if training is None or training.data is None:
        return {}
    data = training.data
    samples = {"training samples": f"{data.get('samples')}, hash {str(data.get('hash'))[:DIGITS]}"}
    if selection := data.get("selection"):
        samples["samples that select"] = f"hash {str(selection)[:DIGITS]}"
    return samples


def movable(samples: Iterable[Labelled]) -> Iterator[Labelled]:
    """Samples by their paths from the deepest folder that all pictures are in, so that a dataset
    may move.
    """
    absolute = [(os.path.abspath(path), labels) for path, labels in samples]
    root = os.path.commonpath([os.path.dirname(path) for path, _ in absolute])
    for path, labels in absolute:
        yield os.path.relpath(path, root), labels


def _hash(samples: Iterable[Labelled]) -> str:
    digest = hashlib.sha256()
    for sample in movable(samples):
        digest.update(repr(sample).encode())
    return digest.hexdigest()
