"""Run a function in several processes at once, as torchrun would."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp

from misc.distributed import Processes, processes


def run_ranks(function: Callable[..., Any], world_size: int, folder: Path, *args: Any) -> list[Any]:
    """What `function(processes, *args)` returns in each of `world_size` processes, by rank."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    mp.spawn(_run, (world_size, port, folder, function, args), nprocs=world_size)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(world_size)]


def _run(
    rank: int, world_size: int, port: int, folder: Path, function: Callable[..., Any], args: Any
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    with processes("cpu") as own:
        assert isinstance(own, Processes)
        torch.save(function(own, *args), folder / f"{rank}.pt")
