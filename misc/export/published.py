"""A model in the names of the code of a published project."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from errors import InputError
from misc.export.towers import build_towers, check_features
from misc.export.trained_model import TrainedModel
from misc.runtime.checkpoint import open_checkpoint, save_checkpoint
from model.architecture import Architecture
from model.clip import TextShape
from model.configured import ConfiguredShape
from model.resnet import ResNetShape
from model.trees import Tree
from model.vit import VisionShape
from model.weights.published.clip_reid import CLIP_REID, to_clip_reid
from model.weights.published.format import Geometry
from model.weights.published.tbps_clip import to_tbps_clip
from model.weights.published.text_towers import HEADS


def export_tbps_clip(trained: TrainedModel, file: Path) -> None:
    """Write a model as TBPS-CLIP does, LoRA merged.

    Raises:
        InputError: TBPS-CLIP's code has no such model, or the file exists or cannot be written.
    """
    advice = "export a model that is tuned by lora alone, or not at all"
    if trained.is_reid:
        advice = "give --format clip-reid"
    trained = trained.for_sentences()
    architecture = trained.two_towers("TBPS-CLIP's code", advice)
    if architecture.backbone != "clip":  # the only one that TBPS-CLIP has
        raise InputError(
            f"{trained.file} has the backbone {architecture.backbone}, which TBPS-CLIP's code does "
            "not know: export a model of backbone clip"
        )
    if isinstance(architecture.vision, ResNetShape):
        raise InputError(
            f"{trained.file} has a ResNet, and TBPS-CLIP's code a ViT only: export a model with a "
            "ViT"
        )
    _check_activation(trained.file, architecture, "TBPS-CLIP")
    write_published(trained.whole_state(), file)
    _check_written(trained, file)


def write_published(state: Mapping[str, Tensor], file: Path) -> None:
    """Write a model's state dict as TBPS-CLIP does: `{"model": ...}`, plain tensors in its names.

    Raises:
        InputError: the model has parts that TBPS-CLIP has no name for, the file exists, or it
            cannot be written.
    """
    foreign = [name for name in state if not name.startswith(("clip.", *HEADS))]
    if foreign:
        raise InputError(
            f"TBPS-CLIP has no place for {foreign[0]} and {len(foreign) - 1} other tensors: export "
            "a model of its two towers and its heads"
        )
    _write({"model": to_tbps_clip(state)}, file)


def export_clip_reid(trained: TrainedModel, file: Path) -> None:
    """Write a re-identification model as CLIP-ReID does: a plain state dict in its names.

    Raises:
        InputError: CLIP-ReID's code has no such model, or the file exists or cannot be written.
    """
    if not trained.is_reid:
        raise InputError(
            f"{trained.file} is a text-to-image model, which CLIP-ReID's code does not know: give "
            "--format tbps-clip"
        )
    state = trained.checkpoint.state
    named = tuple(ours for ours, _ in CLIP_REID)
    if foreign := [name for name in state if not name.startswith(named)]:
        raise InputError(
            f"{trained.file} has {foreign[0]}, which CLIP-ReID's code has no name for: give "
            "--format onnx or torch"
        )
    _check_activation(trained.file, trained.checkpoint.architecture, "CLIP-ReID")
    _write(to_clip_reid(state), file)
    _check_written(trained, file)


def _check_activation(file: Path, architecture: Architecture, project: str) -> None:
    if architecture.activation != "quickgelu":
        raise InputError(
            f"{file} was trained with the activation {architecture.activation}, and {project} has "
            "QuickGELU only: its features would differ, export a model that was trained with "
            "model.activation=quickgelu"
        )


def _write(content: Tree, file: Path) -> None:
    if file.exists():
        raise InputError(f"{file} exists: name another file, or delete this one")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {file} ({error.strerror}): name another file") from error
    save_checkpoint(content, file)


def _check_written(trained: TrainedModel, file: Path) -> None:
    """Compare the features of a written file with the model's; if they differ, it is removed.

    Raises:
        InputError: they differ, or the file cannot be read back.
    """
    config = trained.config
    merged = config.model_copy(update={"lora": config.lora.model_copy(update={"rank": 0})})
    try:
        published = open_checkpoint(file, geometry=lambda _: _geometry(trained))
        written = TrainedModel(published, merged).encoder
        runs = {"image": written.encode}
        if written.sentences is not None:
            runs["text"] = written.sentences.encode
        for tower in build_towers(trained):
            check_features(tower, runs[tower.name], file.name)
    except InputError:
        file.unlink()
        raise


def _geometry(trained: TrainedModel) -> Geometry:
    """The sizes that the weights of a model do not tell."""
    vision, text = trained.checkpoint.architecture.vision, trained.checkpoint.architecture.text
    assert not isinstance(vision, ConfiguredShape)  # of open_clip's own towers, refused before
    stride = vision.stride if isinstance(vision, VisionShape) else None
    heads = (vision.heads, text.heads) if isinstance(text, TextShape) else (vision.heads, 0)
    return Geometry(vision.image_size, stride, heads)
