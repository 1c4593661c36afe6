"""Random generators as a pure function of their purpose, never of rank, worker or history.

Each is made from (seed, purpose, key) where it is needed. So a picture is augmented alike in a
given epoch whatever the number of processes and loader workers, and a resumed run has no generator
states to restore.
"""

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """The use of a stream of random numbers; each has streams of its own."""

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
    PEOPLE = 10
    TOKENS = 11
    NOISE = 12
    DIVISION = 13


def generator(seed: int, purpose: Purpose, *key: int) -> np.random.Generator:
    """The generator of a key, for instance (epoch, sample index, view)."""
    return np.random.default_rng((seed, purpose, *key))


def seed_torch(seed: int, purpose: Purpose, *key: int) -> None:
    """Seed torch's global generators, of the CPU and the GPUs, without waiting for a GPU."""
    state = np.random.SeedSequence((seed, purpose, *key)).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0] >> np.uint64(1)))
