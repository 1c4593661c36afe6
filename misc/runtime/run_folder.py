"""The folder of a run."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

from errors import InputError
from misc.runtime.checkpoint import BEST, LAST, Checkpoint, TrainingState
from misc.runtime.distributed import Processes
from misc.runtime.lock import locked

RUNS = Path("runs")
LONGEST_NAME = 100
# The files of a run: those that it begins with, then all of them.
BEGUN = (
    *("config.yaml*", "metrics.jsonl*", "log.txt", "events.out.tfevents.*"),
    *("profile.json", "tracking_id.txt", "wandb"),
)
WRITTEN = (
    *BEGUN,
    *("results.md*", "results.json*", "checkpoint_*.pt*", "ranked_lists", "ranked_lists-[0-9]*"),
    *("calibration.json*", "calibration.md", "calibration.png*"),
    *("curves.png*", "cmc.png*", "cmc-[0-9]*.png*"),
    *("similarities.png*", "similarities-[0-9]*.png*"),
)


def new_folder(name: str, processes: Processes) -> Path:
    """A folder of this run's own, made by the main process.

    Args:
        name: of a recipe; a checkpoint's may be anything, so all that is no name becomes `-`.

    Raises:
        InputError: it cannot be made.
    """
    folder = RUNS / f"{_safe(name)}-{time.strftime('%Y%m%d-%H%M%S')}"
    while processes.is_main:
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:  # another run began in the same second
            folder = folder.with_name(folder.name + "+")
        except OSError as error:
            raise InputError(f"{folder} cannot be made ({error.strerror}); give --output") from None
    return processes.share(folder)


def _safe(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", name).strip(".-")[:LONGEST_NAME]


@contextmanager
def held_folder(
    folder: Path,
    processes: Processes,
    *,
    resumed: Checkpoint | None = None,
    overwrite: bool = False,
    restarts: bool = False,
) -> Iterator[Path]:
    """Hold a run's folder, so that no other run writes there.

    Args:
        resumed: of the run in the folder, which goes on; any other is refused.
        overwrite: remove the record of that other run instead.
        restarts: likewise, if it ended before its first checkpoint.

    Raises:
        InputError: there is a record of a run, another process holds the folder or has saved a
            later checkpoint meanwhile, or it cannot be written. All processes raise it, and nothing
            has changed.
    """
    refusal = None
    with ExitStack() as stack:
        if processes.is_main:
            try:
                stack.enter_context(locked(folder))
                if not resumed:
                    make_room(folder, overwrite or (restarts and left_nothing(folder)))
            except InputError as error:
                refusal = str(error)
        if refusal := processes.share(refusal):
            raise InputError(refusal)
        if processes.largest(int(resumed is not None and resumed.has_changed()))():
            raise InputError(
                f"--resume: a checkpoint in {folder} has changed since it was read, by a run that "
                "has ended meanwhile: give the command again"
            )
        yield folder


def make_room(folder: Path, overwrite: bool) -> None:
    """Check that a folder holds no record of a run, or remove it.

    Raises:
        InputError: there is one, and it is not to be overwritten; or it cannot be removed.
    """
    found = sorted({file.name for pattern in WRITTEN for file in folder.glob(pattern)})
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
    later = (file.name for pattern in {*WRITTEN} - {*BEGUN} for file in folder.glob(pattern))
    if not all(name.endswith(".partial") for name in later):
        return False
    try:
        lines = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)
        rows = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return all(row["epoch"] == 1 and "split" not in row for row in rows)
    except FileNotFoundError:  # it is written first: the configuration is somebody else's
        return not (folder / "config.yaml").exists()
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
    own = re.compile(re.escape(_safe(recipe)) + r"-\d{8}-\d{6}\+*")  # as `new_folder` names it
    folders = [output] if output else [f for f in RUNS.glob("*") if own.fullmatch(f.name)]
    found = [folder / LAST for folder in folders if (folder / LAST).is_file()]
    return max(found, key=lambda file: file.stat().st_mtime, default=None)


def refuse_own_recipe(config: Path | None, output: Path | None) -> None:
    """Check that a new run replaces no recipe that it is given.

    Raises:
        InputError: the recipe lies in the run's folder, under a name of the run's own files.
    """
    if not (config and output and config.resolve().parent == output.resolve()):
        return
    if any(fnmatch(config.name, pattern) for pattern in WRITTEN):
        raise InputError(
            f"--config {config} lies in --output, where the run would replace it: move it, or give "
            "another --output"
        )
