"""Forked ranks are processes as torchrun starts them."""

import os
import time

import pytest

from misc.runtime.distributed import Processes
from tests.ranks import run_ranks


def look(_: Processes) -> tuple[str, int, int, str]:
    return os.environ["RANK"], os.getpid(), hash("words"), os.getcwd()


def test_each_is_new_and_has_hashes_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = [rank for _ in range(2) for rank in run_ranks(look, 2, tmp_path)]
    ranks, pids, hashes, folders = (list(each) for each in zip(*found, strict=True))
    assert ranks == ["0", "1"] * 2
    assert len({*pids, os.getpid()}) == 5
    assert hashes[0] != hashes[1]
    assert {*folders} == {str(tmp_path)}


def fail(own: Processes) -> None:
    if own.rank == 1:
        raise ValueError("no such thing")
    time.sleep(60)


def test_one_that_fails_is_shown_and_ends_the_others(tmp_path):
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r"(?s)rank 1 ended with status 1:.*no such thing"):
        run_ranks(fail, 2, tmp_path)
    assert time.monotonic() - start < 50
