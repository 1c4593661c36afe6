"""The folder of a run."""

import re
import time
from pathlib import Path

from errors import InputError
from misc.runtime.checkpoint import BEST, LAST, Checkpoint
from misc.runtime.distributed import Processes

RUNS = Path("runs")
LONGEST_NAME = 100


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


def folder_of_new_run(output: Path | None, recipe: str, processes: Processes) -> Path:
    """`output`, or a new folder in `runs/`.

    Raises:
        InputError: there is a run in `output` already.
    """
    if output and (output / LAST).exists():
        raise InputError(
            f"--output {output} already contains a run; continue it with --resume auto, or give "
            "another folder"
        )
    return output or new_folder(recipe, processes)


def folder_of_resumed_run(output: Path | None, checkpoint: Checkpoint) -> Path:
    """The folder that a checkpoint lies in.

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
    return folder


def find_run_to_resume(output: Path | None, recipe: str) -> Path | None:
    """The latest checkpoint of the run in `output`, or of the recipe's newest run; None if there is
    none.
    """
    folders = [output] if output else RUNS.glob(f"{recipe}-2*")
    found = [folder / LAST for folder in folders if (folder / LAST).is_file()]
    return max(found, key=lambda file: file.stat().st_mtime, default=None)
