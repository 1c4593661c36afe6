"""Heartbeats: which process ends a run, and which work is left alone."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta

import pytest
import torch.distributed as dist

from misc.runtime.heartbeats import Heartbeats

LIMIT = timedelta(seconds=0.6)


@pytest.fixture
def join(monkeypatch) -> Callable[..., list[Heartbeats]]:
    """Heartbeats of some ranks of three, all in this process; `ended` holds whom they end for."""
    store = dist.HashStore()
    monkeypatch.setattr(Heartbeats, "_end", lambda self, rank: self.ended_for.append(rank))
    monkeypatch.setattr(Heartbeats, "ended_for", [], raising=False)
    with ExitStack() as stack:
        yield lambda *ranks: [
            stack.enter_context(Heartbeats(store, rank, 3, LIMIT)) for rank in ranks
        ]


def wait(limits: float) -> set[int]:
    """The ranks that somebody has ended the run for after this time."""
    time.sleep(limits * LIMIT.total_seconds())
    return {*Heartbeats.ended_for}


def test_a_rank_that_never_starts_ends_the_run_after_the_limit(join):
    join(0, 1)
    assert wait(0.5) == set()
    assert wait(1.5) == {2}


def test_others_may_wait_for_one_that_works(join):
    main, *others = join(0, 1, 2)
    with others[0].waiting(), others[1].waiting():
        assert wait(3) == set()
        main.beat()  # from here on it is in a step
        assert wait(2) != set()


def test_of_idle_ranks_the_one_behind_is_named(join):
    ranks = join(0, 1, 2)
    for rank in (1, 2, 0):
        ranks[rank].beat()
        time.sleep(0.01)
    assert wait(2) == {1}


def test_batches_are_signs_of_progress(join):
    ranks = join(0, 1, 2)
    loops = [rank.batches(iter(range(20))) for rank in ranks]
    for _ in zip(*loops, strict=True):
        wait(0.1)
    assert wait(0) == set()
    for _ in ranks[0].batches([1]):  # the loops have ended, so the others work
        assert wait(2) == set()


def test_a_rank_that_has_left_is_not_missed(join):
    ranks = join(0, 1, 2)
    wait(0.5)
    for rank in ranks[1:]:
        rank.__exit__(None, None, None)
    assert wait(3) == set()


def test_a_rank_that_failed_is_missed(join):
    ranks = join(0, 1, 2)
    wait(0.5)
    ranks[2].__exit__(ValueError, None, None)
    assert wait(2) == {2}


def test_one_tells_why_the_run_ends(join):
    assert [rank.is_first_to_tell() for rank in join(0, 1, 2)] == [True, False, False]
