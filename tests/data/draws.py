"""Statistics of many draws, held to four standard errors of what they were drawn from."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import pytest


def assert_share(hits: Iterable[bool], p: float) -> None:
    """Check that something happens with probability `p`."""
    hits = list(hits)
    error = math.sqrt(p * (1 - p) / len(hits))
    assert sum(map(bool, hits)) / len(hits) == pytest.approx(p, abs=4 * error)


def assert_alike(drawn: Iterable[Hashable], choices: Sequence[Hashable]) -> None:
    """Check that all of the choices, and no others, are drawn equally often."""
    drawn = list(drawn)
    assert set(drawn) == set(choices)
    counts, p = Counter(drawn), 1 / len(choices)
    error = math.sqrt(p * (1 - p) / len(drawn))
    for choice in choices:
        assert counts[choice] / len(drawn) == pytest.approx(p, abs=4 * error), choice


def assert_uniform(values: Iterable[float], low: float, high: float, rounding: float = 0) -> None:
    """Check that values are uniform in a range: none outside it, some near both ends, and its mean
    and deviation.

    Args:
        rounding: the most that a value may be off.
    """
    values, width = sorted(values), high - low
    near_an_end = 10 * width / len(values) + rounding  # none of e^10 samples has nothing in there
    assert low - rounding <= values[0] <= low + near_an_end
    assert high - near_an_end <= values[-1] <= high + rounding
    mean = sum(values) / len(values)
    error = width / math.sqrt(12 * len(values))
    assert mean == pytest.approx((low + high) / 2, abs=4 * error + rounding)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    assert deviation == pytest.approx(width / math.sqrt(12), abs=4 * error + rounding)
