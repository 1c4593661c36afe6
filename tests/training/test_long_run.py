"""A training of many epochs holds no more than one of a few; `tests.long_run` has hundreds."""

import sys

import pytest

from tests.long_run import Holding, grown, measure


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("workers", [0, 1])
def test_memory_files_and_threads_stay_the_same(tmp_path, workers):
    held = measure(12 if workers == 0 else 4, workers, tmp_path)
    assert grown(held) is None, held


@pytest.mark.parametrize(
    ("last", "what"),
    [
        (Holding(104, 5, 3), None),
        (Holding(106, 5, 3), "memory"),
        (Holding(100, 6, 3), "files"),
        (Holding(100, 5, 4), "threads"),
    ],
)
def test_growth_is_told(last, what):
    assert grown([Holding(50, 1, 1), Holding(100, 5, 3), Holding(100, 5, 3), last]) == what
