"""A rank that is stopped or killed, or the agent that is, in a run of main.py on two ranks."""

import sys
from random import Random

import pytest

from tests.fuzz.lost_ranks import lose


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and Linux's prctl")
@pytest.mark.parametrize("kind", ["hung", "killed", "orphaned"])
def test_nothing_is_left_of_a_run_that_loses_a_part(kind, tmp_path):
    lose(kind, Random(1), tmp_path)
