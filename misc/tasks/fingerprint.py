"""A description of the training data, by which a resumption on other data is noticed."""

import hashlib
import os
from collections.abc import Sequence

from misc.tasks.base import Task
from misc.training.trainer import Stage
from model.trees import Tree


def fingerprint(task: Task, stages: Sequence[Stage]) -> Tree:
    """The number of samples, a hash of their paths and labels, and the global batch of each stage.

    A path counts from the deepest folder that all pictures are in, so that a dataset may move.
    """
    samples = list(task.hashed_samples())
    root = os.path.commonpath([os.path.dirname(sample.path) for sample in samples])
    digest = hashlib.sha256()
    for path, labels in samples:
        digest.update(repr((os.path.relpath(path, root), labels)).encode())
    samplers = {stage.name: stage.loader.sampler for stage in stages}
    return {
        "samples": len(task.training_samples()),
        "hash": digest.hexdigest(),
        "batches": {name: s.batch_size * s.world_size for name, s in samplers.items()},
    }
