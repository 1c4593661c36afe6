"""Processes forked from one that has imported everything, so that each starts in milliseconds."""

import contextlib
import warnings
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import search
from tests.forking import CONTEXT

# LanceDB is imported there, but not used: its threads would not survive the fork.
warnings.filterwarnings("ignore", "lancedb fork support is experimental", RuntimeWarning)


def start(function: Callable[..., None], *args: object) -> ForkServerProcess:
    """A process that calls a function."""
    process = CONTEXT.Process(target=function, args=args)
    process.start()
    return process


def run_command(log: Path, *words: object) -> None:
    """A command line of search.py, with its output in a file; exits with its status."""
    with log.open("w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        status = search.main([str(word) for word in words])
    raise SystemExit(status)
