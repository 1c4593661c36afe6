"""A description of the data, by which a resumption on other data is noticed."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence

from misc.tasks.base import Labelled, Task
from misc.training.trainer import Stage
from model.trees import Tree


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
