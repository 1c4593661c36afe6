"""CLIP's towers as the files that open_clip loads from a folder."""

import json
from pathlib import Path

import open_clip
import torch.nn.functional as F
from safetensors.torch import save_file

from misc.export.preparation import describe_images
from misc.export.towers import build_towers, check_features
from misc.export.trained_model import TrainedModel
from model.architecture import TextArchitecture
from model.clip import TextShape
from model.trees import Tree
from model.vit import VisionShape
from model.weights.key_maps import to_openai

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


def write_open_clip(trained: TrainedModel, architecture: TextArchitecture, folder: Path) -> None:
    """Write a folder's files for `open_clip.create_model("local-dir:FOLDER")`.

    Raises:
        InputError: open_clip gives other features.
    """
    image, vision = describe_images(trained.encoder.transform), architecture.vision
    assert isinstance(vision, VisionShape)
    model = {
        "embed_dim": architecture.embed_dim,
        "quick_gelu": architecture.activation == "quickgelu",
        "vision_cfg": {
            "image_size": list(vision.image_size),
            "layers": vision.layers,
            "width": vision.width,
            "head_width": vision.width // vision.heads,
            "patch_size": vision.patch_size,
            **_mlp_ratio(vision),
        },
        "text_cfg": {
            "context_length": architecture.text.context_length,
            "vocab_size": architecture.text.vocab_size,
            "width": architecture.text.width,
            "heads": architecture.text.heads,
            "layers": architecture.text.layers,
            **_mlp_ratio(architecture.text),
        },
    }
    preprocessing = {
        "mean": list(image.mean),
        "std": list(image.std),
        "interpolation": image.interpolation,
        "resize_mode": "squash" if image.resize == "squash" else "shortest",
    }
    config = {"model_cfg": model, "preprocess_cfg": preprocessing}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    state = {k: v.contiguous() for k, v in to_openai(trained.clip.state_dict()).items()}
    save_file(state, folder / WEIGHTS)
    _check(trained, folder)


def _mlp_ratio(shape: VisionShape | TextShape) -> Tree:
    return {} if shape.mlp_width is None else {"mlp_ratio": shape.mlp_width / shape.width}


def _check(trained: TrainedModel, folder: Path) -> None:
    model = open_clip.create_model(f"local-dir:{folder}", weights_only=True).eval()
    runs = {
        "image": lambda images: F.normalize(model.encode_image(images), dim=-1),
        "text": lambda tokens: F.normalize(model.encode_text(tokens), dim=-1),
    }
    for tower in build_towers(trained):
        check_features(tower, runs[tower.name], "open_clip")
