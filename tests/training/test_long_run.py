"""A training of many epochs holds no more than one of a few; `tests.long_run` has hundreds."""

import subprocess
import sys

import pytest

from tests import ROOT
from tests.long_run import Holding, grown


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("workers", [0, 1])
def test_memory_files_and_threads_stay_the_same(workers):
    """In a process of its own: what other tests have left behind may come and go."""
    words = ["--epochs", "12" if workers == 0 else "9", "--workers", str(workers)]
    command = [sys.executable, "-m", "tests.long_run", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


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
