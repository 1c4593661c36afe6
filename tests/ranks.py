"""Run a function in several processes at once, as torchrun would."""

import os
import socket
import time
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch

import main
from misc.runtime.distributed import processes
from tests.command_line import parse
from tests.forking import Server


def run_ranks(function: Callable[..., Any], world_size: int, folder: Path, *args: Any) -> list[Any]:
    """The results of `function(processes, *args)` in each of `world_size` processes, by rank."""
    _run(_join, world_size, folder, function, args)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(world_size)]


def run_main_on_ranks(world_size: int, folder: Path, arguments: list[str]) -> None:
    """main.py with these arguments in each of `world_size` processes."""
    _run(_main, world_size, folder, arguments)


@cache
def _server(_: int) -> Server:
    """A rank's own, so that hashes of strings differ from rank to rank."""
    return Server()


def _run(function: Callable[..., None], world_size: int, folder: Path, *args: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    running = {}
    for rank in range(world_size):
        server = _server(rank)
        server.start(folder / f"{rank}.log", _enter, rank, world_size, port, folder, function, args)
        running[server.end] = rank
    deadline = time.monotonic() + 600
    try:
        while running:
            for end in wait([*running], timeout=max(0, deadline - time.monotonic())):
                rank = running.pop(end)
                if status := _server(rank).wait():
                    log = (folder / f"{rank}.log").read_text()
                    raise RuntimeError(f"rank {rank} ended with status {status}:\n{log}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{function.__name__} did not end on {world_size} ranks")
    finally:
        for rank in running.values():
            _server(rank).kill()


def _enter(
    rank: int, world_size: int, port: int, folder: Path, function: Callable[..., None], args: Any
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    function(folder, *args)


def _join(folder: Path, function: Callable[..., Any], args: Any) -> None:
    with processes("cpu") as own:
        torch.save(function(own, *args), folder / f"{own.rank}.pt")


def _main(_: Path, arguments: list[str]) -> None:
    main.run(parse(arguments))
