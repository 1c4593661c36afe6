"""What a run leaves on the disk to go on from: tensors and plain types, written whole or not at
all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from errors import InputError
from misc.runtime.atomic import atomic_write

LAST, BEST = "checkpoint_last.pt", "checkpoint_best.pt"
PARTS = {
    "model",
    "architecture",
    "config",
    "recipe",
    "epoch",
}  # what every checkpoint of ours holds

Checkpoint = dict[str, Any]


@dataclass(frozen=True)
class Start:
    """The checkpoint that a model takes its weights from; `content` if it is of this project."""

    file: Path
    content: Checkpoint | None


def save_checkpoint(content: Checkpoint, file: Path) -> None:
    """Write a checkpoint file, atomically."""
    with atomic_write(file) as partial:
        torch.save(content, partial)


def read_checkpoint(file: Path) -> Checkpoint:
    """The content of a checkpoint, on the CPU; only tensors and plain types are ever unpickled.

    Raises:
        InputError: if there is no such file, or this project did not write it.
    """
    if not file.is_file():
        raise InputError(f"there is no checkpoint {file}")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises nearly any type on a file that is not its own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{file} is not a checkpoint that can be read safely: {reason}") from None
    if not isinstance(content, dict) or not content.keys() >= PARTS:
        lacking = PARTS - content.keys() if isinstance(content, dict) else PARTS
        raise InputError(
            f"{file} is not a checkpoint of this project: it holds no {', '.join(sorted(lacking))}"
        )
    return content


def load_weights(model: nn.Module, state: Mapping[str, Tensor], file: Path) -> None:
    """Put the weights that a file holds into a model.

    Raises:
        InputError: if they do not fit; the tensors are named.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file} does not fit the model of its configuration: {reason}") from None


def find_checkpoint(place: Path, *names: str) -> Path:
    """`place` itself if it is a file, else the first of `names` that the run folder `place` holds.

    Raises:
        InputError: if there is none.
    """
    if place.is_file():
        return place
    for name in names:
        if (place / name).is_file():
            return place / name
    found = f"{place} holds neither" if place.is_dir() else f"there is no {place}, so neither"
    raise InputError(f"{found} {' nor '.join(names)}; give a checkpoint or a run's folder")
