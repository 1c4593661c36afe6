"""Memory, open files and threads of a training of many epochs, which must not grow.

python -m tests.long_run --epochs 300
"""

import argparse
import os
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import main as training
import options
from misc.synthetic.writing import write_dataset
from misc.training.engine import Engine, Selection
from tests.command_line import parse
from tests.conftest import SMALL


class Holding(NamedTuple):
    """Counts of memory, files and threads of the process."""

    mebibytes: float  # of main memory
    files: int  # but TensorBoard's, whose thread has it open for a moment at every flush
    threads: int


def holding() -> Holding:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    mebibytes = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Holding(mebibytes, _open_files(), threading.active_count())


def _open_files() -> int:
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the list itself
            count += "tfevents" not in os.readlink(f"/proc/self/fd/{descriptor}")
    return count


def measure(epochs: int, workers: int, folder: Path) -> list[Holding]:
    """Train the tiniest run; what the process holds after each epoch's evaluation."""
    sizes = {"train": 8, "val": 3, "test": 3}
    drawn = write_dataset("cuhk-pedes", folder, identities=sizes, images=(2, 2), height=(40, 48))
    places = (f"data.annotation_file={drawn.processed}", f"data.image_root={drawn.image_root}")
    few = (f"schedule.epoch={epochs}", f"data.num_workers={workers}", "log.print_period=1")
    recipe = ("--config", str(options.RECIPES / "demo.yaml"), "--output", str(folder / "run"))
    held: list[Holding] = []
    select = Engine._select

    def select_too(engine: Engine, selection: Selection) -> None:
        select(engine, selection)
        held.append(holding())

    with patch.object(Engine, "_select", select_too):
        training.run(parse([*recipe, *SMALL, *places, *few]))
    return held


def main() -> int:
    """Print the figures; the status is 1 if something has grown."""
    parser = argparse.ArgumentParser(prog="python -m tests.long_run", description=__doc__)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--workers", type=int, default=0, help="processes that read pictures")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        held = measure(asked.epochs, asked.workers, Path(folder))
    for epoch in sorted({1, *range(10, asked.epochs, max(1, asked.epochs // 10)), asked.epochs}):
        now = held[epoch - 1]
        print(
            f"epoch {epoch:4}  {now.mebibytes:7.1f} MiB  {now.files} files  {now.threads} threads"
        )
    return int(bool(grown(held)))


def grown(held: list[Holding]) -> str | None:
    """The thing that has grown from the second third of the epochs to the last, if any has.

    The least of each third counts: a worker may hand over a batch at the moment of the count.
    Memory may grow by a twentieth: the allocator's parts are not all full.
    """
    third = len(held) // 3
    before, after = (
        Holding(*map(min, zip(*part, strict=True))) for part in (held[third:-third], held[-third:])
    )
    if after.mebibytes > 1.05 * before.mebibytes:
        return "memory"
    if after.files > before.files:
        return "files"
    return "threads" if after.threads > before.threads else None


if __name__ == "__main__":
    sys.exit(main())
