"""The record of a run: log lines on screen and in log.txt, metrics.jsonl, TensorBoard curves."""

import errno
import json
import logging
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from errors import InputError
from misc.runtime.atomic import atomic_write
from misc.runtime.lock import LOCK
from misc.runtime.run_folder import remove_record
from model.trees import Tree

log = logging.getLogger(__name__)
OURS = ("misc", "model", "text_utils")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSING = "chosen"  # only in the rows of the closing evaluation: how its model was chosen


class _Screen(logging.Handler):
    """A handler that prints above the progress bar, not through it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record))


class _Backlog(logging.Handler):
    """A handler that keeps lines until the run has a folder."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class _LogFile(logging.FileHandler):
    """A handler for log.txt that raises what keeps it from writing."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exception()
        if error:
            raise error


def start_logging(active: bool) -> None:
    """Show the project's log lines on the screen, and keep them for log.txt.

    Args:
        active: whether this is the main process; the others repeat its lines, so that they show
            errors alone.
    """
    backlog = _Backlog()
    for name in OURS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO if active else logging.ERROR)
        logger.handlers = [_Screen(), backlog]
        logger.propagate = False


class Recorder:
    """The record of a run in its folder; only the main process writes.

    `metrics.jsonl` has one JSON object a line: rows with `loss` for training steps, rows with
    `skipped`, the pictures of a step that was left out, rows with `split` for evaluations.

    Used as a context manager: its end flushes what is buffered. If the run fails before anything is
    recorded, a folder that it created is removed.

    Args:
        folder: created when missing.
        active: whether this is the main process.
        resume_step: the step that a run resumes from; rows of later steps and of the closing
            evaluation are dropped.

    Raises:
        InputError: if the folder cannot be created or written; from any method.
    """

    def __init__(self, folder: Path, active: bool = True, resume_step: int | None = None) -> None:
        self.folder, self.active = folder, active
        if not active:
            return
        with self._writing():
            others = [f for f in folder.iterdir() if f.name != LOCK] if folder.exists() else []
            self._disposable = not others
            folder.mkdir(parents=True, exist_ok=True)
            self._log = _LogFile(folder / "log.txt", encoding="utf-8")
            self._metrics = folder / "metrics.jsonl"
            rows = self._read_rows() if resume_step is not None else []
            self._replace_rows(
                [r for r in rows if r["step"] <= (resume_step or 0) and CLOSING not in r]
            )
            purge_step = None if resume_step is None else resume_step + 1
            self._report_thread, threading.excepthook = threading.excepthook, self._skip_full_disk
            self._curves = SummaryWriter(str(folder), purge_step=purge_step)
            self._move_log()

    def _skip_full_disk(self, end: threading.ExceptHookArgs) -> None:
        """Report how a thread ended; TensorBoard's on a full disk is raised by its next call."""
        if not (isinstance(end.exc_value, OSError) and end.exc_value.errno in FULL):
            self._report_thread(end)

    def _move_log(self) -> None:
        """Let log.txt have the lines that were logged so far, and all that follow."""
        backlogs = {h for name in OURS for h in logging.getLogger(name).handlers}
        for backlog in backlogs:
            if isinstance(backlog, _Backlog):
                for record in backlog.records:
                    self._log.emit(record)
        for name in OURS:
            logger = logging.getLogger(name)
            logger.handlers = [h for h in logger.handlers if not isinstance(h, _Backlog)]
            logger.addHandler(self._log)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, *_: object
    ) -> None:
        if not self.active:
            return
        for name in OURS:
            logging.getLogger(name).removeHandler(self._log)
        # The first error counts: where a disk is full, closing a file fails again.
        with suppress(OSError) if kind else self._writing():
            try:
                self._curves.close()
            finally:
                threading.excepthook = self._report_thread
                self._log.close()
        if kind and self._disposable and not self._metrics.stat().st_size:
            remove_record(self.folder)
        if isinstance(error, OSError) and error.errno in FULL:
            raise self._refusal(error) from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._refusal(error) from None

    def _refusal(self, error: OSError) -> InputError:
        if error.errno in FULL:
            return InputError(
                f"{self.folder} cannot be written ({error.strerror}): make room, and continue a "
                "training with --resume; its last checkpoint is kept"
            )
        return InputError(
            f"--output {self.folder} cannot be written ({error.strerror}); choose another folder"
        )

    def _read_rows(self) -> list[Tree]:
        """The rows so far; where one is damaged, a copy of the file is kept, too."""
        content = self._metrics.read_bytes() if self._metrics.exists() else b""
        lines = content.splitlines(keepends=True)
        rows = [_parse(line) for line in lines if line.endswith(b"\n")]  # the last may be cut off
        good = [row for row in rows if row is not None]
        if len(good) < len(rows):
            copy = self._metrics.with_name(self._metrics.name + ".damaged")
            shutil.copyfile(self._metrics, copy)
            log.warning(
                "%s: %d of %d rows are damaged and left out; the file is kept as %s",
                self._metrics,
                len(rows) - len(good),
                len(rows),
                copy.name,
            )
        return good

    def _replace_rows(self, rows: Iterable[Mapping[str, object]]) -> None:
        with atomic_write(self._metrics) as partial:
            partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def write(self, row: Mapping[str, object]) -> None:
        """Append a row to metrics.jsonl, and its floats to the curves at the row's `step`."""
        if not self.active:
            return
        group = " ".join(str(row[key]) for key in ("split", "direction") if key in row) or "train"
        with self._writing():
            with self._metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            for name, value in row.items():
                if isinstance(value, float):
                    self._curves.add_scalar(f"{group}/{name}", value, row["step"])

    def write_text(self, name: str, text: str) -> None:
        """Write a text file into the run's folder."""
        if self.active:
            with self._writing(), atomic_write(self.folder / name) as partial:
                partial.write_text(text, encoding="utf-8")

    def list_files(self) -> None:
        """Log the names of the files in the run's folder."""
        if self.active:
            files = sorted(file.name for file in self.folder.iterdir() if file.name != LOCK)
            log.info("Written to %s: %s", self.folder, ", ".join(files))


def _parse(line: bytes) -> Tree | None:
    """A row of metrics.jsonl; None if it is damaged."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and type(row.get("step")) is int else None
