"""The folder of a run."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from errors import InputError
from misc.runtime.checkpoint import BEST, LAST, Checkpoint, TrainingState
from misc.runtime.distributed import Processes
from misc.runtime.lock import locked

RUNS = Path("runs")
LONGEST_NAME = 100
RECORD = ("config.yaml", "metrics.jsonl", "results.*", "checkpoint_*.pt")  # of any run
WRITTEN = (
    *("config.yaml*", "metrics.jsonl*", "results.md*", "results.json*", "checkpoint_*.pt*"),
    *("log.txt", "events.out.tfevents.*", "ranked_lists", "ranked_lists-[0-9]*"),
    *("calibration.json*", "calibration.md", "calibration.png*"),
    *("curves.png*", "cmc.png*", "cmc-[0-9]*.png*"),
    *("similarities.png*", "similarities-[0-9]*.png*"),
    *("profile.json", "tracking_id.txt", "wandb"),
)


def new_folder(name: str, processes: Processes) -> Path:
    """A folder of this run's own, made by the main process.

    Args:
        name: of a recipe; a checkpoint's may be anything, so all that is no name becomes `-`.

    Raises:
        InputError: it cannot be made.
    """
    name = re.sub(r"[^\w.+-]+", "-", name).strip(".-")[:LONGEST_NAME]
    folder = RUNS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    while processes.is_main:
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:  # another run began in the same second
            folder = folder.with_name(folder.name + "+")
        except OSError as error:
            raise InputError(f"{folder} cannot be made ({error.strerror}); give --output") from None
    return processes.share(folder)


@contextmanager
def held_folder(
    folder: Path,
    processes: Processes,
    *,
    resumes: bool = False,
    overwrite: bool = False,
    restarts: bool = False,
) -> Iterator[Path]:
    """Hold a run's folder, so that no other run writes there.

    Args:
        resumes: whether the run in the folder goes on; any other is refused.
        overwrite: remove the record of that other run instead.
        restarts: likewise, if it ended before its first checkpoint.

    Raises:
        InputError: there is a record of a run, another process holds the folder, or it cannot be
            written. All processes raise it, and nothing has changed.
    """
    refusal = None
    with ExitStack() as stack:
        if processes.is_main:
            try:
                stack.enter_context(locked(folder))
                if not resumes:
                    make_room(folder, overwrite or (restarts and left_nothing(folder)))
            except InputError as error:
                refusal = str(error)
        if refusal := processes.share(refusal):
            raise InputError(refusal)
        yield folder


def make_room(folder: Path, overwrite: bool) -> None:
    """Check that a folder holds no record of a run, or remove it.

    Raises:
        InputError: there is one, and it is not to be overwritten; or it cannot be removed.
    """
    found = sorted({file.name for pattern in RECORD for file in folder.glob(pattern)})
    if found and not overwrite:
        resume = "continue it with --resume auto, " if LAST in found else ""
        raise InputError(
            f"--output {folder} already contains a run ({', '.join(found)}); {resume}give another "
            "folder, or replace it with --overwrite"
        )
    if found:
        try:
            remove_record(folder)
        except OSError as error:
            raise InputError(f"{error.filename} cannot be removed ({error.strerror})") from None


def left_nothing(folder: Path) -> bool:
    """Whether a run in a folder has ended before its first checkpoint: within its first epoch."""
    if any(file for pattern in ("checkpoint_*.pt", "results.*") for file in folder.glob(pattern)):
        return False
    try:
        lines = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)
        rows = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return all(row["epoch"] == 1 and "split" not in row for row in rows)
    except FileNotFoundError:
        return True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def remove_record(folder: Path) -> None:
    """Remove the files that runs write to a folder, and the folder itself if nothing else is left.

    A folder that is a mount point or a link stays.
    """
    for pattern in WRITTEN:
        for file in folder.glob(pattern):
            if file.is_dir() and not file.is_symlink():
                shutil.rmtree(file)
            else:
                file.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def folder_of_resumed_run(
    output: Path | None, checkpoint: Checkpoint
) -> tuple[Path, TrainingState]:
    """The folder that a checkpoint lies in, and its state.

    Raises:
        InputError: a training cannot be resumed from there.
    """
    if checkpoint.training is None:
        raise InputError(
            f"{checkpoint.file} holds only weights: resume from a {LAST} of this project"
        )
    folder = checkpoint.file.parent
    if output and output.resolve() != folder.resolve():
        raise InputError(
            f"--output {output} is not the folder of {checkpoint.file}, where the run continues: "
            "leave --output out, or copy the folder first"
        )
    if checkpoint.training.position.best_epoch and not (folder / BEST).is_file():
        raise InputError(f"{folder} has no {BEST}, which {checkpoint.file} refers to: put it back")
    return folder, checkpoint.training


def find_run_to_resume(output: Path | None, recipe: str) -> Path | None:
    """The latest checkpoint of the run in `output`, or of the recipe's newest run; None if there is
    none.
    """
    folders = [output] if output else RUNS.glob(f"{recipe}-2*")
    found = [folder / LAST for folder in folders if (folder / LAST).is_file()]
    return max(found, key=lambda file: file.stat().st_mtime, default=None)
