"""Trackers of a run: TensorBoard, Weights & Biases, trackio."""

import errno
import importlib
import importlib.util
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Protocol

import yaml
from PIL import Image

from errors import InputError
from model.trees import Tree

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ID_FILE = "tracking_id.txt"  # what a resumed run is found by
INSTALL = {  # trackio asks for an older Pillow, as Gradio does; all else it shares with Gradio
    "wandb": "pip install wandb",
    "trackio": "pip install --no-deps -r requirements-page.txt trackio",
}


class Tracker(Protocol):
    """A program that shows the curves of runs."""

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each of some curves."""

    def show(self, pictures: Mapping[str, Path], step: int) -> None:
        """Show picture files, by name."""

    def finish(self, failed: bool) -> None:
        """Write what is buffered, and end the tracked run."""


class TensorBoard:
    """Event files in the run's folder.

    Args:
        settings: the resolved configuration.
        resume_step: the step that a run resumes from; points of later steps are struck out.
    """

    def __init__(self, folder: Path, settings: Tree, resume_step: int | None) -> None:
        from torch.utils.tensorboard import SummaryWriter  # seconds, for runs that ask for it

        self._report_thread, threading.excepthook = threading.excepthook, self._skip_full_disk
        purge_step = None if resume_step is None else resume_step + 1
        self.writer = SummaryWriter(str(folder), purge_step=purge_step)
        if settings:
            text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
            indented = "".join(f"    {line}\n" for line in text.splitlines())  # Markdown's code
            self.writer.add_text("configuration", indented, resume_step or 0)

    def _skip_full_disk(self, end: threading.ExceptHookArgs) -> None:
        """Report how a thread ended; TensorBoard's on a full disk is raised by its next call."""
        if not (isinstance(end.exc_value, OSError) and end.exc_value.errno in FULL):
            self._report_thread(end)

    def write(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def show(self, pictures: Mapping[str, Path], step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        assert self.writer.file_writer is not None  # until it is closed
        for name, file in pictures.items():
            with Image.open(file) as picture:
                (width, height), channels = picture.size, len(picture.getbands())
            # The file itself: `add_image` would make a PNG of it, slower and larger.
            image = Summary.Image(
                encoded_image_string=file.read_bytes(),
                width=width,
                height=height,
                colorspace=channels,
            )
            summary = Summary(value=[Summary.Value(tag=name, image=image)])
            self.writer.file_writer.add_summary(summary, step)

    def finish(self, failed: bool) -> None:
        try:
            self.writer.close()
        finally:
            threading.excepthook = self._report_thread


class WeightsAndBiases:
    """A run of Weights & Biases.

    The step is logged as a value and made the axis of all curves: wandb leaves out values of a step
    that is lower than one before, and the model that closes a run may be of an earlier epoch.

    Args:
        run_id: of a new run, or of the one that is resumed.
    """

    def __init__(self, project: str, folder: Path, settings: Tree, run_id: str) -> None:
        self.module = importlib.import_module("wandb")
        self.run = self.module.init(
            project=project,
            name=folder.resolve().name,
            config=settings,
            dir=str(folder),
            resume="allow",
            id=run_id,
        )
        self.run.define_metric("*", step_metric="step")

    def write(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({**values, "step": step})

    def show(self, pictures: Mapping[str, Path], step: int) -> None:
        self.run.log({**_images(self.module, pictures), "step": step})

    def finish(self, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))


class Trackio:
    """A run of trackio, which knows runs by their names.

    Args:
        run_id: of a new run, or of the one that is resumed; a part of the name.
    """

    def __init__(self, project: str, folder: Path, settings: Tree, run_id: str) -> None:
        self.module = importlib.import_module("trackio")
        name = f"{folder.resolve().name}-{run_id}"
        self.run = self.module.init(project=project, name=name, config=settings, resume="allow")

    def write(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def show(self, pictures: Mapping[str, Path], step: int) -> None:
        self.run.log(_images(self.module, pictures), step=step)

    def finish(self, failed: bool) -> None:
        self.run.finish()


def _images(module: ModuleType, pictures: Mapping[str, Path]) -> dict[str, object]:
    return {name: module.Image(str(file)) for name, file in pictures.items()}


@dataclass(frozen=True)
class Tracking:
    """The trackers that a run asks for.

    Args:
        names: `tensorboard`, `wandb`, `trackio`.
        project: that the run belongs to, in the last two.
        settings: the resolved configuration.
    """

    names: Sequence[str] = ()
    project: str = ""
    settings: Tree = field(default_factory=dict)

    def check(self) -> None:
        """Check that the packages of the trackers are installed.

        Raises:
            InputError: one is not.
        """
        for name in self.names:
            package = importlib.util.find_spec(name)
            if package is None or package.origin is None:  # or a folder that wandb has left
                hint = INSTALL.get(name, f"pip install {name}")
                raise InputError(f"log.to names {name}, which is not installed: {hint}")

    def open(self, folder: Path, resume_step: int | None) -> list[Tracker]:
        """The trackers; a resumed run continues the tracked runs that it began.

        Args:
            resume_step: the step that a run resumes from; None: it is a new one.
        """
        trackers: list[Tracker] = []
        if "tensorboard" in self.names:
            trackers.append(TensorBoard(folder, self.settings, resume_step))
        if {"wandb", "trackio"} & {*self.names}:
            run_id = _run_id(folder / ID_FILE, resumes=resume_step is not None)
            for name, kind in (("wandb", WeightsAndBiases), ("trackio", Trackio)):
                if name in self.names:
                    trackers.append(self._start(name, kind, folder, run_id))
        return trackers

    def _start(
        self, name: str, kind: type["WeightsAndBiases | Trackio"], folder: Path, run_id: str
    ) -> Tracker:
        try:
            return kind(self.project, folder, self.settings, run_id)
        except Exception as error:  # each library has its own
            raise InputError(
                f"log.to: {name} cannot begin ({error}); log in to it, update it, or leave it out"
            ) from error


UNTRACKED = Tracking()


def _run_id(file: Path, resumes: bool) -> str:
    """The id in a file; that of a new run is written there."""
    if resumes and file.is_file():
        return file.read_text(encoding="utf-8").strip()
    run_id = secrets.token_hex(8)
    file.write_text(f"{run_id}\n", encoding="utf-8")
    return run_id
