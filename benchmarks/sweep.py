"""Many runs of `main.py` in folders of their own, several at a time; a run that is there already is
not made again, and one that was interrupted goes on.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

import options
from errors import InputError
from misc.retrieval.report import Evaluation
from misc.synthetic.writing import WrittenDataset

ROOT = Path(__file__).resolve().parent.parent
CONFIG, RESULTS, CONSOLE = "config.yaml", "results.json", "console.txt"


def places(dataset: WrittenDataset) -> tuple[str, str]:
    """Where a dataset lies, as the command line says it."""
    return (
        f"data.annotation_file={dataset.processed.resolve()}",
        f"data.image_root={dataset.image_root.resolve()}",
    )


@dataclass(frozen=True)
class Run:
    """One run of `main.py`: the folder of its record, its command line but for `--output`, and the
    number of its processes.
    """

    folder: Path
    arguments: tuple[str, ...]
    processes: int = 1

    @property
    def done(self) -> bool:
        return (self.folder / RESULTS).is_file()

    def check(self) -> None:
        """Refuse a folder that holds a run of another configuration.

        Raises:
            InputError: it does.
        """
        config = self.folder / CONFIG
        wanted = options.dump(options.parse(self.arguments).configure())
        if config.is_file() and config.read_text(encoding="utf-8") != wanted:
            raise InputError(
                f"{self.folder} holds a run with other settings: delete it, or give another "
                "--output"
            )

    def make(self, threads: int) -> None:
        """Run it in processes of its own, to its end.

        Args:
            threads: of all of them.

        Raises:
            InputError: it failed; what it printed is in its folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable]
        if self.processes > 1:
            command += ["-m", "torch.distributed.run", "--standalone"]
            command.append(f"--nproc_per_node={self.processes}")
            threads = max(1, threads // self.processes)
        command += [str(ROOT / "main.py"), *self.arguments]
        command += ["--output", str(self.folder.resolve()), "--resume", "auto"]
        console = self.folder / CONSOLE
        with console.open("w", encoding="utf-8") as stream:
            environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
            status = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.STDOUT
            ).returncode
        if status:
            raise InputError(f"a run ended with status {status}: see the end of {console}")

    def results(self) -> Evaluation:
        """Its closing tables: dataset -> direction -> metric -> percent."""
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


def make_all(runs: Sequence[Run], jobs: int = 1) -> None:
    """Make the runs that are not there yet, `jobs` at a time, each with its share of the cores.

    Raises:
        InputError: a folder holds a run of another configuration (nothing is run then), or a run
            failed (those under way end first).
    """
    for run in runs:
        run.check()
    missing = [run for run in runs if not run.done]
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with (
        tqdm(total=len(runs), initial=len(runs) - len(missing), unit=" runs", disable=None) as bar,
        ThreadPoolExecutor(jobs) as pool,
    ):
        futures = [pool.submit(run.make, threads) for run in missing]
        for future in futures:
            future.add_done_callback(lambda _: bar.update())
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:  # after an interruption, too
            for future in futures:
                future.cancel()
    for future in futures:
        if not future.cancelled():
            future.result()
