"""Randomness as a pure function of what it is for, never of rank, worker or history.

A generator is made anew from (seed, purpose, ...) wherever one is needed, so the same picture of
the same epoch is augmented alike whatever the number of processes and loader workers, and a resumed
run has no generator states to restore.
"""

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What the numbers are drawn for: streams with different purposes never meet."""

    INITIALISATION = 0
    ORDER = 1
    TEXT = 2
    IMAGE = 3
    STEP = 4
    MASK = 5
    MIX = 6
    LANGUAGE = 7
    GALLERY = 8
    QUERIES = 9


def generator(seed: int, purpose: Purpose, *place: int) -> np.random.Generator:
    """The generator of one place, for instance (epoch, sample index, view)."""
    return np.random.default_rng((seed, purpose, *place))


def seed_torch(seed: int, purpose: Purpose, *place: int) -> None:
    """Seed torch's global generators, of the CPU and the GPUs, for one place; nothing waits for a
    GPU.
    """
    state = np.random.SeedSequence((seed, purpose, *place)).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0] >> np.uint64(1)))
