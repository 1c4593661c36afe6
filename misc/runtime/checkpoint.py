"""Checkpoints: a file or the folder of a run becomes one object, read once.

Only tensors and plain types are unpickled. The configuration beside TBPS-CLIP's weights is an
`easydict.EasyDict`, for which an ordinary dictionary stands in.
"""

import math
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.serialization import safe_globals

from errors import InputError
from misc.runtime.atomic import atomic_write
from misc.runtime.checksum import check_seal, sealed
from model.architecture import Architecture, read_architecture
from model.field_types import find_mistyped
from model.trees import Tree
from model.weights.misfits import find_other_numbers
from model.weights.published import FORMATS, find_format
from model.weights.published.format import Geometry, PublishedFormat
from model.weights.shapes import check_sizes
from model.weights.soundness import check_finite, check_tensors, is_sound_zip
from model.weights.sources import State, shorten

LAST, BEST = "checkpoint_last.pt", "checkpoint_best.pt"
PARTS = ("model", "architecture", "config", "recipe", "epoch")  # of every checkpoint of ours
EASYDICT = (OrderedDict, "easydict.EasyDict")  # the class that stands in for it


@dataclass(frozen=True)
class Position:
    """Progress of a training through all its stages: what is done, and the best so far."""

    epoch: int = 0
    step: int = 0
    best: float = -math.inf
    best_epoch: int = 0


@dataclass(frozen=True)
class TrainingState:
    """Everything beside the weights that a resumed training needs.

    `optimizer` and `scaler` are the state dicts of torch's objects. `data` describes the training
    data, so that a resumption on other data is noticed; older files lack it. `clean` (N,), bool,
    are the labels of the pairs in the current epoch, where the training set is divided.
    """

    position: Position
    optimizer: Tree
    scaler: Tree
    data: Tree | None = None
    clean: Tensor | None = None

    def without_best(self) -> "TrainingState":
        """The state as if no epoch had been the best so far."""
        return replace(self, position=Position(self.position.epoch, self.position.step))


@dataclass(frozen=True)
class Checkpoint:
    """A trained model, as a file holds it.

    Args:
        file: that it was read from, or will be written to.
        state: weights in our names, on the CPU; of a tuned model only those that were trained.
        published: the format of a public project's file, None for one of this project's.
        recipe: the name of the recipe; of a published file, its project.
        config: the configuration of the training as plain types, None if the file has none.
        frozen_hash: of a tuned model: the hash of the weights that it leaves out.
        training: None for weights alone.
        stamp: inode and time of the file when it was read.
    """

    file: Path
    state: State
    architecture: Architecture
    recipe: str
    epoch: int = 0
    published: PublishedFormat | None = None
    config: Tree | None = None
    frozen_hash: str | None = None
    training: TrainingState | None = None
    stamp: tuple[int, int] | None = field(default=None, compare=False)

    def has_changed(self) -> bool:
        """Whether the file has been replaced or removed since it was read."""
        return self.stamp is not None and _stamp(self.file) != self.stamp

    @property
    def project_settings(self) -> Tree:
        """The settings of a configuration that a published file is read with."""
        if self.published is None:
            return {}
        return {"experiment": {"clean_captions": self.published.cleans_captions}}

    def to_tree(self) -> Tree:
        """The content of a file of this project: tensors and plain types."""
        tree: Tree = {
            "config": self.config,
            "recipe": self.recipe,
            "architecture": self.architecture.to_tree(),
        }
        if self.frozen_hash is not None:
            tree["frozen"] = self.frozen_hash
        tree |= {"model": self.state, "epoch": self.epoch}
        if self.training is not None:
            tree |= {
                "optimizer": self.training.optimizer,
                "scaler": self.training.scaler,
                "position": asdict(self.training.position),
                "data": self.training.data,
            }
            if self.training.clean is not None:
                tree["clean"] = self.training.clean
        return tree

    @classmethod
    def from_tree(cls, file: Path, tree: Tree) -> "Checkpoint":
        """The inverse of `to_tree`, for the files of older versions, too."""
        training = None
        if "position" in tree:
            position = Position(**tree["position"])
            parts = tree["optimizer"], tree["scaler"], tree.get("data"), tree.get("clean")
            training = TrainingState(position, *parts)
        return cls(
            file,
            tree["model"],
            read_architecture(tree["architecture"]),
            tree["recipe"],
            tree["epoch"],
            config=tree["config"],
            frozen_hash=tree.get("frozen"),
            training=training,
        )


@dataclass(frozen=True)
class RunIdentity:
    """The parts that all checkpoints of one run have in common, as in `Checkpoint`.

    Args:
        omitted_names: of the weights that they leave out, whose hash is `frozen_hash`.
        data: that of `TrainingState`.
    """

    config: Tree
    recipe: str
    architecture: Architecture
    frozen_hash: str | None = None
    omitted_names: tuple[str, ...] = ()
    data: Tree | None = None

    def checkpoint(
        self, file: Path, state: State, epoch: int, training: TrainingState | None = None
    ) -> Checkpoint:
        """A checkpoint of this run."""
        return Checkpoint(
            file,
            state,
            self.architecture,
            self.recipe,
            epoch,
            config=self.config,
            frozen_hash=self.frozen_hash,
            training=training,
        )


def open_checkpoint(
    path: Path,
    *names: str,
    geometry: Callable[[PublishedFormat], Geometry] = lambda _: Geometry(),
    any_size: bool = False,
    ours_only: bool = False,
) -> Checkpoint:
    """Read a checkpoint of this project, or of a public project in the catalogue.

    Args:
        path: a file, or the folder of a run.
        names: of the files in a run's folder, the first that is there is read.
        geometry: gives what the weights of a published file in some format do not tell; called
            only for such a file.
        any_size: read a published file whose weights are of another geometry by the first of its
            project's own geometries that fits.
        ours_only: refuse a published file.

    Raises:
        InputError: there is no such file, it cannot be read without running code, it is of an
            unknown project, or its tensors do not fit together.
    """
    file = find_checkpoint(path, *names)
    stamp = _stamp(file)
    content = _load(file)
    if content.keys() >= {*PARTS}:
        check_seal(file, content)
        return replace(_read_own(file, content), stamp=stamp)
    weights = content["model"] if isinstance(content.get("model"), Mapping) else content
    state = _select_tensors(weights)
    check_finite(file, state)
    published = find_format(state)
    if published is None:
        lacking = ", ".join(name for name in PARTS if name not in content)
        known = ", ".join(each.project for each in FORMATS)
        raise InputError(
            f"{file} is neither a checkpoint of this project (it has no {lacking}) nor of a known "
            f"one ({known})"
        )
    if ours_only:
        raise InputError(
            f"{file} is a checkpoint of {published.project}, and one of this project is needed here"
        )
    return _read_published(file, state, published, geometry(published), any_size)


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:  # reading it says why
        return None
    return status.st_ino, status.st_mtime_ns


def _read_own(file: Path, content: Tree) -> Checkpoint:
    try:
        checkpoint = Checkpoint.from_tree(file, content)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{file} cannot be read ({' '.join(str(error).split())}): it is damaged, or a later "
            "version wrote it"
        ) from error
    if mistyped := find_mistyped(checkpoint):
        raise InputError(
            f"{file} cannot be read ({mistyped} is of another type): it is damaged, or a later "
            "version wrote it"
        )
    check_finite(file, checkpoint.state)
    if checkpoint.frozen_hash is None:  # else the configuration says what is built
        architecture = checkpoint.architecture
        towers = architecture.vision, architecture.text, architecture.embed_dim
        check_sizes(file, *towers, num_values=sum(map(Tensor.numel, checkpoint.state.values())))
    return checkpoint


def _read_published(
    file: Path, state: State, published: PublishedFormat, geometry: Geometry, any_size: bool
) -> Checkpoint:
    fault: InputError | None = None
    others = [each._replace(heads=geometry.heads) for each in published.geometries]
    for candidate in (geometry, *(others if any_size else ())):
        try:
            weights = published.read(file, state, candidate)
        except InputError as error:
            fault = fault or error
        else:
            return Checkpoint(file, *weights, published.project, published=published)
    assert fault is not None
    raise fault


def _load(file: Path) -> Tree:
    """The content of a file, on the CPU, if that is tensors and plain types by name."""
    try:
        with safe_globals([EASYDICT]):
            content = torch.load(
                file, map_location="cpu", weights_only=True, mmap=is_sound_zip(file)
            )
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror})") from error
    except Exception as error:  # torch raises nearly any type on a file that is not its own
        raise InputError(
            f"{file} cannot be read safely: it is damaged, no checkpoint, or holds more than "
            "tensors and plain types"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{file} holds a {type(content).__name__}, not a checkpoint")
    check_tensors(file, content)
    return content


def _select_tensors(content: Mapping[str, object]) -> State:
    """The tensors among the values, without the `module.` that DDP writes in front of all names."""
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def save_checkpoint(content: Tree, file: Path) -> None:
    """Write a checkpoint file, atomically; one of this project's with a checksum.

    Raises:
        InputError: it cannot be written; an older file of this name is as it was.
    """
    if content.keys() >= {*PARTS}:
        content = sealed(content)
    try:
        with atomic_write(file) as partial, partial.open("wb") as stream:
            torch.save(content, stream)
    except (OSError, RuntimeError) as error:  # torch's writer hides the former behind the latter
        cause = error if isinstance(error, OSError) else error.__context__
        reason = cause.strerror if isinstance(cause, OSError) else str(error).splitlines()[0]
        raise InputError(
            f"{file} cannot be written ({reason}): make room, or name another place; what was "
            "saved before is whole",
            in_one_process=True,
        ) from error


def load_weights(model: nn.Module, state: Mapping[str, Tensor], file: Path) -> None:
    """Load the weights of a file into a model.

    Raises:
        InputError: they do not fit; the tensors are named.
    """
    if wrong := find_other_numbers({**state}, model.state_dict()):
        raise InputError(f"{file} holds other types than its model: {shorten(wrong)}")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file} does not fit the model of its configuration: {reason}") from None


def find_checkpoint(path: Path, *names: str) -> Path:
    """`path` itself if it is a file, else the first of `names` in the run folder `path`.

    Raises:
        InputError: there is none.
    """
    if os.path.isfile(path):  # unlike `Path.is_file`, False for a name that is too long
        return path
    for name in names:
        if os.path.isfile(path / name):
            return path / name
    if not os.path.exists(path):
        raise InputError(f"{path} does not exist; give a checkpoint or a run's folder")
    wanted = " or ".join(names)
    raise InputError(f"{path} holds no {wanted}; give a checkpoint or a run's folder")
