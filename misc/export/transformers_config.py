"""The configurations of transformers that describe our backbones."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from transformers import (
    AltCLIPConfig,
    ChineseCLIPConfig,
    CLIPConfig,
    PreTrainedConfig,
    SiglipConfig,
)

from model.altclip import AltTextShape
from model.altclip_adapter import ALTCLIP
from model.architecture import TextArchitecture
from model.chinese_clip import BertShape
from model.chinese_clip_loader import NAMES as CHINESE_CLIP
from model.clip import TextShape
from model.siglip_loader import NAMES as SIGLIP
from model.transformer import Activation
from model.trees import Tree
from model.vit import VisionShape
from model.weights.key_maps import HUGGINGFACE, Names

ACTIVATIONS: Mapping[Activation, str] = {
    "quickgelu": "quick_gelu",
    "gelu": "gelu",
    "gelu_tanh": "gelu_pytorch_tanh",
}


class HubModel(NamedTuple):
    """A backbone as transformers has it.

    Args:
        title: the name of its class.
        names: (ours, theirs) of the weights, as in model/weights/key_maps.py.
        configure: its configuration, from the architecture and the side of a square image.
        num_class_rows: rows of the image positions before the patches'.
    """

    title: str
    names: Names
    configure: Callable[[TextArchitecture, int], PreTrainedConfig]
    num_class_rows: int = 1


def _sizes(shape: VisionShape | TextShape) -> Tree:
    return {
        "hidden_size": shape.width,
        "intermediate_size": shape.mlp_width or 4 * shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
    }


def _vision(architecture: TextArchitecture, side: int) -> Tree:
    vision = architecture.vision
    assert isinstance(vision, VisionShape)
    activation = ACTIVATIONS[architecture.activation]
    places = {"image_size": side, "patch_size": vision.patch_size, "hidden_act": activation}
    return {**_sizes(vision), **places}


def _text(shape: TextShape, positions: int) -> Tree:
    places = {"vocab_size": shape.vocab_size, "max_position_embeddings": positions}
    return {**_sizes(shape), **places}


def _clip(architecture: TextArchitecture, side: int) -> PreTrainedConfig:
    text, activation = architecture.text, ACTIVATIONS[architecture.activation]
    end = text.vocab_size - 1
    ids = {"bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end}
    width = architecture.embed_dim
    own = {**_text(text, text.context_length), "hidden_act": activation, **ids}
    return CLIPConfig(
        text_config={**own, "projection_dim": width},
        vision_config={**_vision(architecture, side), "projection_dim": width},
        projection_dim=width,
    )


def _altclip(architecture: TextArchitecture, side: int) -> PreTrainedConfig:
    text = architecture.text
    assert isinstance(text, AltTextShape)
    own = {"pad_token_id": text.pad_id, "project_dim": text.transformed_width}
    return AltCLIPConfig(
        text_config={**_text(text, text.context_length + text.pad_id + 1), **own},
        vision_config=_vision(architecture, side),
        projection_dim=architecture.embed_dim,
    )


def _chinese_clip(architecture: TextArchitecture, side: int) -> PreTrainedConfig:
    text = architecture.text
    assert isinstance(text, BertShape)
    own = {"pad_token_id": text.pad_id, "layer_norm_eps": text.eps}
    return ChineseCLIPConfig(
        text_config={**_text(text, text.context_length), **own},
        vision_config=_vision(architecture, side),
        projection_dim=architecture.embed_dim,
    )


def _siglip(architecture: TextArchitecture, side: int) -> PreTrainedConfig:
    text = architecture.text
    own = {"hidden_act": ACTIVATIONS[architecture.activation]}
    own_sizes = {**_text(text, text.context_length), "projection_size": architecture.embed_dim}
    return SiglipConfig(text_config={**own_sizes, **own}, vision_config=_vision(architecture, side))


MODELS: Mapping[str, HubModel] = {
    "clip": HubModel("CLIPModel", HUGGINGFACE, _clip),
    "altclip": HubModel("AltCLIPModel", ALTCLIP, _altclip),
    "chinese-clip": HubModel("ChineseCLIPModel", CHINESE_CLIP, _chinese_clip),
    "siglip": HubModel("SiglipModel", SIGLIP, _siglip, num_class_rows=0),
}
