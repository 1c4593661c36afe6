"""Runs of main.py, each process of which is forked from one that has torch in memory."""

import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch

import main
from misc.export import main as export
from tests.forking import CONTEXT

Entry = Callable[[], AbstractContextManager[object]]


def start(
    ranks: int, arguments: Sequence[str], log: Path, entry: Entry = nullcontext
) -> list[ForkServerProcess]:
    """Begin a run.

    Args:
        log: a file that its output is appended to.
        entry: of the context that each process is in.
    """
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    run = [
        CONTEXT.Process(target=_rank, args=(rank, ranks, port, log, arguments, entry))
        for rank in range(ranks)
    ]
    for process in run:
        process.start()
    return run


def start_export(arguments: Sequence[str]) -> list[ForkServerProcess]:
    """Begin an export, in a process of its own."""
    process = CONTEXT.Process(target=_export, args=(arguments,))
    process.start()
    return [process]


def statuses(run: list[ForkServerProcess]) -> list[int | None]:
    """Wait for the end of a run; the exit status of each process."""
    for process in run:
        process.join()
    return [process.exitcode for process in run]


def _export(arguments: Sequence[str]) -> None:
    torch.set_num_threads(1)
    with Path(os.devnull).open("w") as sys.stdout:
        sys.stderr = sys.stdout
        sys.exit(export([*arguments]))


def _rank(
    rank: int, world_size: int, port: int, log: Path, arguments: Sequence[str], entry: Entry
) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with log.open("a") as sys.stderr, entry():
        sys.stdout, sys.argv = sys.stderr, ["main.py", *arguments]
        main.main()
