"""The record of a run: log lines on screen and in log.txt, metrics.jsonl, curves in trackers."""

import json
import logging
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Self

from tqdm import tqdm

from errors import InputError
from misc.runtime.atomic import atomic_write
from misc.runtime.checkpoint import Position
from misc.runtime.lock import LOCK
from misc.runtime.run_folder import remove_record
from misc.runtime.tracking import FULL, UNTRACKED, Tracking
from model.trees import Tree

log = logging.getLogger(__name__)
OURS = ("misc", "model", "text_utils")
CLOSING = "chosen"  # only in the rows of the closing evaluation: how its model was chosen


class _Screen(logging.Handler):
    """A handler that prints above the progress bar, not through it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record))


class _Backlog(logging.Handler):
    """A handler that keeps lines until the run has a folder.

    Args:
        first: lines before all others.
    """

    def __init__(self, first: Iterable[str]) -> None:
        super().__init__()
        self.records = [
            logging.LogRecord(__name__, logging.INFO, "", 0, line, None, None) for line in first
        ]

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class _Stamped(logging.Formatter):
    """A formatter that begins every line with the time, those of a table, too."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = datetime.fromtimestamp(record.created).isoformat(" ", "seconds")
        return "\n".join(f"{stamp}  {line}" for line in super().format(record).split("\n"))


class _LogFile(logging.FileHandler):
    """A handler for log.txt that raises what keeps it from writing."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, encoding="utf-8", errors="backslashreplace")
        self.setFormatter(_Stamped())

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exception()
        if error:
            raise error


def start_logging(active: bool, first: Iterable[str] = ()) -> None:
    """Show the project's log lines on the screen, and keep them for log.txt.

    Args:
        active: whether this is the main process; the others repeat its lines, so that they show
            errors alone.
        first: lines that log.txt begins with, and that the screen does not show.
    """
    backlog = _Backlog(first)
    for name in OURS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO if active else logging.ERROR)
        logger.handlers = [_Screen(), backlog]
        logger.propagate = False


class Recorder:
    """The record of a run in its folder; only the main process writes.

    `metrics.jsonl` has one JSON object a line: rows with `loss` for training steps, rows with
    `skipped`, the pictures of a step that was left out, rows with `division_seconds`, the time that
    a division of the pairs took, rows with `split` for evaluations. Each has `seconds`, the time
    since the run began; a resumed run counts on from the last row it keeps.

    Used as a context manager: its end flushes what is buffered. If the run fails before anything is
    recorded, a folder that it created is removed.

    Args:
        folder: created when missing.
        active: whether this is the main process.
        resumed: the position that a run resumes from; rows of later steps, of evaluations that it
            does again and of the closing one are dropped.
        tracking: the trackers that curves and pictures go to, too.

    Raises:
        InputError: if the folder cannot be created or written; from any method.
    """

    def __init__(
        self,
        folder: Path,
        active: bool = True,
        resumed: Position | None = None,
        tracking: Tracking = UNTRACKED,
    ) -> None:
        self.folder, self.active = folder, active
        if not active:
            return
        with self._writing():
            others = [f for f in folder.iterdir() if f.name != LOCK] if folder.exists() else []
            self._disposable = not others
            folder.mkdir(parents=True, exist_ok=True)
            self._log = _LogFile(folder / "log.txt")
            self._metrics = folder / "metrics.jsonl"
            rows = self._kept_rows(resumed) if resumed else []
            self._began = time.monotonic() - (rows[-1].get("seconds", 0.0) if rows else 0.0)
            step = resumed.step if resumed else None
            self._trackers = tracking.open(folder, step)  # it may fail: nothing is written
            self._replace_rows(rows)
            self._move_log()

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
        with suppress(OSError) if kind else self._writing(), ExitStack() as stack:
            stack.callback(self._log.close)
            for tracker in self._trackers:
                stack.callback(tracker.finish, failed=kind is not None)
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

    def _kept_rows(self, resumed: Position) -> list[Tree]:
        rows = [r for r in self._read_rows() if r["step"] <= resumed.step and CLOSING not in r]
        return [r for r in rows if "split" not in r or r.get("epoch", 0) <= resumed.epoch]

    def _replace_rows(self, rows: Iterable[Mapping[str, object]]) -> None:
        with atomic_write(self._metrics) as partial:
            partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def write(self, row: Mapping[str, object]) -> None:
        """Append a row to metrics.jsonl, and its floats to the curves at the row's `step`."""
        if not self.active:
            return
        parts = row.get("dataset", row.get("split", "train")), row.get("direction", "")
        group = " ".join(map(str, parts)).rstrip()
        values = {f"{group}/{k}": value for k, value in row.items() if isinstance(value, float)}
        seconds = round(time.monotonic() - self._began, 3)
        with self._writing():
            with self._metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**row, "seconds": seconds}) + "\n")
            for tracker in self._trackers:
                tracker.write(values, int(str(row["step"])))

    def write_text(self, name: str, text: str) -> None:
        """Write a text file into the run's folder."""
        if self.active:
            with self._writing(), atomic_write(self.folder / name) as partial:
                partial.write_text(text, encoding="utf-8")

    def remove_results(self) -> None:
        """Remove the closing tables, as the training goes on: they are of an earlier model."""
        if self.active:
            with self._writing():
                for file in self.folder.glob("results.*"):
                    file.unlink()

    def show(self, group: str, pictures: Iterable[Path], step: int) -> None:
        """Show picture files in the trackers, named by a group and their own names."""
        if self.active:
            named = {f"{group}/{file.stem}": file for file in pictures}
            with self._writing():
                for tracker in self._trackers:
                    tracker.show(named, step)

    def draw_curves(self) -> None:
        """Draw the curves of metrics.jsonl, those of a resumed run from its beginning."""
        if self.active:
            from misc.runtime.curves_plot import draw_curves  # matplotlib, where it draws

            draw_curves(self.folder / "curves.png", self._read_rows(), CLOSING)

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
