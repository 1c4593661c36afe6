"""A run of `main.py` in processes of its own, resumed where it was interrupted."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

import options
from errors import InputError
from misc.retrieval.report import Evaluation

if sys.platform != "win32":
    import fcntl

MAIN = Path(__file__).resolve().parents[2] / "main.py"
CONFIG, RESULTS, CONSOLE = "config.yaml", "results.json", "console.txt"
SAVING = 600  # seconds that a run which is asked to stop has to save its state


@dataclass(frozen=True)
class Run:
    """A run of `main.py`.

    Args:
        folder: its `--output`.
        arguments: the rest of its command line.
        processes: the number of its processes.
    """

    folder: Path
    arguments: tuple[str, ...]
    processes: int = 1

    @property
    def done(self) -> bool:
        """Whether it has ended, and its closing tables are written."""
        return (self.folder / RESULTS).is_file()

    def check(self) -> None:
        """Check that its folder is new or has a run of the same configuration.

        Raises:
            InputError: it is not.
        """
        config = self.folder / CONFIG
        wanted = options.dump(options.parse(self.arguments).configure())
        if config.is_file() and config.read_text(encoding="utf-8") != wanted:
            raise InputError(
                f"{self.folder} already contains a run with other settings; delete it, or choose "
                "another --output"
            )

    def make(self, threads: int) -> None:
        """Run it to its end.

        Args:
            threads: the number of threads of all its processes together.

        Raises:
            InputError: it failed; its output is in its folder.
        """
        with self.console() as console, self.started(threads, console) as process:
            process.wait()
        self.check_end(process)

    @contextmanager
    def console(self) -> Iterator[BinaryIO]:
        """The file that its output goes to, locked by whoever writes it.

        A run that was started before may have outlived its starter, which was killed: its end is
        waited for.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / CONSOLE).open("ab") as console:
            try:
                lock(console, wait=False)
            except BlockingIOError:
                tqdm.write(f"The run in {self.folder} still goes on: waiting for its end")
                lock(console)
            yield console

    @contextmanager
    def started(self, threads: int, console: BinaryIO) -> Iterator[subprocess.Popen[bytes]]:
        """Start it, or resume it; when the block ends before it does, it saves its state and stops.

        Args:
            threads: those of `make`.
        """
        console.truncate(0)
        command = [sys.executable]
        if self.processes > 1:
            command += ["-m", "torch.distributed.run", "--standalone"]
            command.append(f"--nproc_per_node={self.processes}")
            threads = max(1, threads // self.processes)
        command += [str(MAIN), *self.arguments]
        command += ["--output", str(self.folder.resolve()), "--resume", "auto"]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        process = subprocess.Popen(  # nosec B603  # our own main.py, and no shell
            command, env=environment, stdout=console, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                _stop(process)

    def check_end(self, process: subprocess.Popen[bytes]) -> None:
        """Check how its process has ended.

        Raises:
            InputError: it failed.
        """
        if process.returncode:
            console = self.folder / CONSOLE
            raise InputError(
                f"a run failed with exit status {process.returncode}; see the end of {console}"
            )

    def results(self) -> Evaluation:
        """The closing tables: dataset -> direction -> metric -> percent."""
        tables = json.loads((self.folder / RESULTS).read_text(encoding="utf-8"))["results"]
        return {
            dataset: {
                direction: {
                    name: metric["mean"] if isinstance(metric, Mapping) else metric
                    for name, metric in metrics.items()
                }
                for direction, metrics in directions.items()
            }
            for dataset, directions in tables.items()
        }


def of_seeds(
    folder: Path, seeds: Iterable[int], arguments: Sequence[str], processes: int = 1
) -> list[Run]:
    """The same run with each seed, in `FOLDER-SEED`."""
    return [
        Run(folder.with_name(f"{folder.name}-{seed}"), (*arguments, f"misc.seed={seed}"), processes)
        for seed in seeds
    ]


def lock(file: BinaryIO, wait: bool = True) -> None:
    """Lock a file for this process and those that inherit it, until all of them have closed it.

    Raises:
        BlockingIOError: other processes have it, and they are not waited for.
    """
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):  # of file systems without locks
                raise


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a run to save its state and leave, which it does after the step that it is in."""
    process.terminate()
    try:
        process.wait(SAVING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
