"""A model as a folder that transformers loads, and open_clip if its towers are CLIP's."""

from pathlib import Path
from typing import Any

import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModel

from errors import InputError
from misc.export.messages import quiet
from misc.export.open_clip_files import write_open_clip
from misc.export.preparation import describe_images, write_preparation
from misc.export.square_positions import square_positions
from misc.export.towers import build_towers, check_features
from misc.export.trained_model import TrainedModel
from misc.export.transformers_config import MODELS, HubModel
from misc.search.exported import ImageInput
from misc.tasks.starting_weights import build_tokenizer
from model.architecture import TextArchitecture
from model.vit import VisionShape
from model.weights.key_maps import rename_all, transpose_projections
from model.weights.sources import State

INSTEAD = "give --format onnx or torch"
POSITIONS = "visual.positional_embedding"


def write_huggingface(trained: TrainedModel, folder: Path) -> None:
    """Write a model for transformers and, if its towers are CLIP's, for open_clip; LoRA is merged.

    Raises:
        InputError: transformers has no such model, or gives other features.
    """
    trained = trained.for_sentences()
    architecture = trained.two_towers("transformers", INSTEAD)
    hub = find_hub_model(trained, architecture)
    _check_crop(trained, describe_images(trained.encoder.transform))
    write_model(hub, architecture, trained.clip.state_dict(), folder)
    write_preparation(trained, folder)
    if architecture.backbone == "clip":
        write_open_clip(trained, architecture, folder)
    with quiet():
        model = AutoModel.from_pretrained(folder, trust_remote_code=False)
    check_model(trained, model.eval(), hub.title)


def find_hub_model(trained: TrainedModel, architecture: TextArchitecture) -> HubModel:
    """The model of transformers that has such towers.

    Raises:
        InputError: it has none.
    """
    vision, file = architecture.vision, trained.file
    if architecture.backbone not in MODELS:
        raise InputError(
            f"{file} has the backbone {architecture.backbone}, which this export does not write "
            f"for transformers: {INSTEAD}"
        )
    if not isinstance(vision, VisionShape):
        raise InputError(f"{file} has a ResNet, which transformers has no CLIP of: {INSTEAD}")
    if vision.stride != vision.patch_size:
        raise InputError(
            f"{file} has patches of {vision.patch_size} pixels at a stride of {vision.stride}, and "
            f"transformers' patches stand side by side: {INSTEAD}"
        )
    return MODELS[architecture.backbone]


def _check_crop(trained: TrainedModel, image: ImageInput) -> None:
    if image.resize == "crop" and image.size[0] != image.size[1]:
        raise InputError(
            f"{trained.file} cuts a rectangle out of a picture that is resized to cover it, and "
            f"transformers resizes for squares alone: {INSTEAD}"
        )


def write_model(hub: HubModel, architecture: TextArchitecture, state: State, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`.

    Args:
        state: of the two towers, in our names.
    """
    vision = architecture.vision
    assert isinstance(vision, VisionShape)
    side = vision.image_size[0]
    if vision.grid[0] != vision.grid[1]:
        side = max(vision.grid) * vision.patch_size
    config = hub.configure(architecture, side)
    config.architectures = [hub.title]
    config.save_pretrained(folder)
    positions = square_positions(state[POSITIONS], vision.grid, hub.num_class_rows)
    theirs = rename_all(transpose_projections({**state, POSITIONS: positions}), hub.names)
    if hub.title == "SiglipModel":  # whose scalars are vectors of one value
        theirs |= {k: v.reshape(1) for k, v in theirs.items() if k.startswith("logit_")}
    whole = {name: tensor.contiguous() for name, tensor in theirs.items()}
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})


def check_model(trained: TrainedModel, model: Any, title: str) -> None:
    """Compare features of transformers' model with ours.

    Args:
        model: of transformers, whose models have no type in common for this.

    Raises:
        InputError: they differ by more than 1e-5.
    """
    pad_id = build_tokenizer(trained.config).pad_id
    masks = title in ("AltCLIPModel", "ChineseCLIPModel")
    rectangle = {} if is_square(trained) else {"interpolate_pos_encoding": True}

    def encode_image(images: Tensor) -> Tensor:
        features = model.get_image_features(pixel_values=images, **rectangle).pooler_output
        return F.normalize(features, dim=-1)

    def encode_text(tokens: Tensor) -> Tensor:
        mask = {"attention_mask": (tokens != pad_id).long()} if masks else {}
        features = model.get_text_features(input_ids=tokens, **mask).pooler_output
        return F.normalize(features, dim=-1)

    runs = {"image": encode_image, "text": encode_text}
    for tower in build_towers(trained):
        check_features(tower, runs[tower.name], f"transformers' {title}")


def is_square(trained: TrainedModel) -> bool:
    """Whether an image has as many rows of patches as columns."""
    rows, columns = trained.clip.visual.shape.grid
    return rows == columns
