"""What a run tells: lines on the screen and in log.txt, metrics.jsonl, TensorBoard curves."""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from errors import InputError

log = logging.getLogger(__name__)
OURS = ("misc", "model", "text_utils")
CLOSING = "chosen"  # the key of the rows that close a run: how the evaluated model was chosen


class _Screen(logging.Handler):
    """Prints above the progress bar, not through it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record))


def start_logging(active: bool) -> None:
    """Show what the project has to say on the screen; nothing in all processes but the main one,
    which has the same to say.
    """
    for name in OURS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO if active else logging.ERROR)
        logger.handlers = [_Screen()]
        logger.propagate = False


class Recorder:
    """The record of a run in its folder; silent in all processes but the main one.

    `metrics.jsonl` has one JSON object a line: rows with `loss` for training steps, rows with
    `split` for evaluations.

    Used as a context: what is buffered is written at its end, and a folder that the run has made
    itself is taken away again if the run fails before it has recorded anything.

    Args:
        folder: created when missing.
        active: whether this is the main process.
        resume_step: when a run goes on from this step, what it recorded beyond is struck out.

    Raises:
        InputError: if the folder cannot be made or written.
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
                f"--output {folder} cannot be written ({error.strerror}); give another folder"
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
        whole = [line for line in lines if line.endswith("\n")]  # the last may be cut off
        return [json.loads(line) for line in whole]

    def _replace_rows(self, rows: list[dict[str, Any]]) -> None:
        partial = self._metrics.with_name(self._metrics.name + ".partial")
        partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        os.replace(partial, self._metrics)

    def write(self, row: dict[str, Any]) -> None:
        """Add a row to metrics.jsonl, and its numbers to the curves at the row's `step`."""
        if not self.active:
            return
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        group = " ".join(str(row[key]) for key in ("split", "direction") if key in row) or "train"
        for name, value in row.items():
            if isinstance(value, float):
                self._curves.add_scalar(f"{group}/{name}", value, row["step"])

    def write_text(self, name: str, text: str) -> None:
        """Write a whole file into the run's folder."""
        if self.active:
            (self.folder / name).write_text(text, encoding="utf-8")
