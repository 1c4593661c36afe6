"""The record of a run: log lines on screen and in log.txt, metrics.jsonl, TensorBoard curves."""

import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from errors import InputError
from misc.runtime.atomic import atomic_write

log = logging.getLogger(__name__)
OURS = ("misc", "model", "text_utils")
CLOSING = "chosen"  # only in the rows of the closing evaluation: how its model was chosen


class _Screen(logging.Handler):
    """A handler that prints above the progress bar, not through it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record))


def start_logging(active: bool) -> None:
    """Show the project's log lines on the screen.

    Args:
        active: whether this is the main process; the others repeat its lines, so that they show
            errors alone.
    """
    for name in OURS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO if active else logging.ERROR)
        logger.handlers = [_Screen()]
        logger.propagate = False


class Recorder:
    """The record of a run in its folder; only the main process writes.

    `metrics.jsonl` has one JSON object a line: rows with `loss` for training steps, rows with
    `split` for evaluations.

    Used as a context manager: its end flushes what is buffered. If the run fails before anything is
    recorded, a folder that it created is removed.

    Args:
        folder: created when missing.
        active: whether this is the main process.
        resume_step: the step that a run resumes from; rows of later steps and of the closing
            evaluation are dropped.

    Raises:
        InputError: if the folder cannot be created or written.
    """

    def __init__(self, folder: Path, active: bool = True, resume_step: int | None = None) -> None:
        self.folder, self.active = folder, active
        if not active:
            return
        try:
            self._disposable = not folder.exists() or not any(folder.iterdir())
            folder.mkdir(parents=True, exist_ok=True)
            self._log = logging.FileHandler(folder / "log.txt", encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"--output {folder} cannot be written ({error.strerror}); choose another folder"
            ) from None
        for name in OURS:
            logging.getLogger(name).addHandler(self._log)
        self._metrics = folder / "metrics.jsonl"
        rows = self._rows() if resume_step is not None and self._metrics.exists() else []
        self._replace_rows(
            [r for r in rows if r["step"] <= (resume_step or 0) and CLOSING not in r]
        )
        purge_step = None if resume_step is None else resume_step + 1
        self._curves = SummaryWriter(str(folder), purge_step=purge_step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self.active:
            return
        self._curves.close()
        for name in OURS:
            logging.getLogger(name).removeHandler(self._log)
        self._log.close()
        if kind and self._disposable and not self._rows():
            shutil.rmtree(self.folder)

    def _rows(self) -> list[dict[str, Any]]:
        lines = self._metrics.read_text(encoding="utf-8").splitlines(keepends=True)
        complete = [line for line in lines if line.endswith("\n")]  # the last may be cut off
        return [json.loads(line) for line in complete]

    def _replace_rows(self, rows: Iterable[Mapping[str, object]]) -> None:
        with atomic_write(self._metrics) as partial:
            partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def write(self, row: Mapping[str, object]) -> None:
        """Append a row to metrics.jsonl, and its floats to the curves at the row's `step`."""
        if not self.active:
            return
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        group = " ".join(str(row[key]) for key in ("split", "direction") if key in row) or "train"
        for name, value in row.items():
            if isinstance(value, float):
                self._curves.add_scalar(f"{group}/{name}", value, row["step"])

    def write_text(self, name: str, text: str) -> None:
        """Write a text file into the run's folder."""
        if self.active:
            (self.folder / name).write_text(text, encoding="utf-8")
