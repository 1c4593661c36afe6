"""The time until main.py answers: with its help, or with the fault of a mistyped key.

python -m benchmarks.start --output benchmarks/results/start.json

CPU time, in which other programs of the machine do not show; the least of a few rounds counts.
"""

import argparse
import math
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch

from benchmarks.records import RECORD, Record, Row, against_bar
from misc.runtime.script import Parser, positive, run_script

MAIN = Path(__file__).parent.parent / "main.py"
ANSWERS = {"main.py --help": ("--help", 0), "main.py with a mistyped key": ("data.bach_size=8", 2)}
BAR = 0.5  # seconds


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(prog="python -m benchmarks.start", description="Time until main.py answers.")
    add = parser.add_argument
    add("--output", type=RECORD, required=True, metavar="FILE", help="JSON")
    add("--rounds", type=positive, default=5, metavar="N", help="(default: 5)")
    return parser


def _run(asked: argparse.Namespace) -> None:
    record = Record(asked.output, torch.device("cpu"), seconds=math.inf)
    for name, (word, status) in ANSWERS.items():
        record.measure(f"{name}, CPU seconds", partial(measure, word, status, asked.rounds))


def measure(word: str, status: int, rounds: int) -> Row:
    """The CPU time of main.py with a word, after which it leaves with a status."""
    return against_bar(min(_cpu_seconds(word, status) for _ in range(rounds)), "<=", BAR)


def _cpu_seconds(word: str, status: int) -> float:
    before = _time_of_children()
    done = subprocess.run(  # nosec B603  # fixed words, and no shell
        [sys.executable, MAIN, word], capture_output=True, check=False
    )
    if done.returncode != status:
        raise RuntimeError(f"main.py {word} left with status {done.returncode}, not {status}")
    return _time_of_children() - before


def _time_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
