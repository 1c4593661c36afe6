"""Run a function in several processes at once, as torchrun would."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp

import main
from misc.runtime.distributed import processes
from tests.command_line import parse


def run_ranks(
    function: Callable[..., Any],
    world_size: int,
    folder: Path,
    *args: Any,
    start_method: str = "spawn",
) -> list[Any]:
    """The results of `function(processes, *args)` in each of `world_size` processes, by rank."""
    _spawn(_join, world_size, folder, function, args, start_method=start_method)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(world_size)]


def run_main_on_ranks(world_size: int, folder: Path, arguments: list[str]) -> None:
    """main.py with these arguments in each of `world_size` processes."""
    _spawn(_main, world_size, folder, arguments)


def _spawn(
    function: Callable[..., None],
    world_size: int,
    folder: Path,
    *args: Any,
    start_method: str = "spawn",
) -> None:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    context = mp.start_processes(
        _enter,
        (world_size, port, folder, function, args),
        nprocs=world_size,
        join=False,
        start_method=start_method,
    )
    deadline = time.monotonic() + 600
    while not context.join(timeout=5):
        if time.monotonic() > deadline:
            for process in context.processes:
                process.kill()
            raise TimeoutError(f"{function.__name__} did not end on {world_size} ranks")


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
