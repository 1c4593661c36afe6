"""Seeded random generators, one for each thing that is drawn, and simple draws from them."""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TypeVar

import numpy as np
from numpy.random import Generator

T = TypeVar("T")


class Stream(IntEnum):
    """Purpose of a generator, so that things with the same number share no draws."""

    IDENTITY = 0
    FAMILY = 1
    CAMERA = 2
    VISITS = 3
    PICTURE = 4
    CAPTION = 5
    TRANSLATION = 6
    VEHICLE = 7
    FLEET = 8
    WALK = 9
    PLACE = 10
    FRAME = 11
    CHANGE = 12


def generator(seed: int, stream: Stream, *numbers: int) -> Generator:
    """The generator of one thing, which depends only on the arguments."""
    return np.random.default_rng([seed, int(stream), *numbers])


def happens(rng: Generator, probability: float) -> bool:
    """Draw True with this probability."""
    return float(rng.random()) < probability


def pick(rng: Generator, choices: Sequence[T]) -> T:
    """Draw one of the choices, uniformly."""
    return choices[int(rng.random() * len(choices))]


def pick_weighted(rng: Generator, weights: Mapping[T, float]) -> T:
    """Draw a key with probability proportional to its weight."""
    mark = float(rng.random()) * sum(weights.values())
    for choice, weight in weights.items():
        mark -= weight
        if mark < 0:
            return choice
    return choice


def between(rng: Generator, low: float, high: float) -> float:
    """Draw a number from [low, high)."""
    return low + (high - low) * float(rng.random())


def around(rng: Generator, spread: float) -> float:
    """Draw a number from [-spread, spread]."""
    return spread * (2.0 * float(rng.random()) - 1.0)
