"""The models of open_clip in the registry of backbones."""

import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import open_clip
from open_clip.convert import convert_state_dict
from PIL.Image import Resampling
from torch import nn

from errors import InputError
from model.architecture import ImageShape, TextArchitecture
from model.backbone_loader import BackboneLoader, Preprocessing, TowerOptions
from model.clip import PIXEL_MEAN, PIXEL_STD, TextShape
from model.configured import ConfiguredShape, ConfiguredTextShape
from model.open_clip import OpenCLIP, build_open_clip, resize_images
from model.recognition import find_open_clip_folder, read_json, split_open_clip_name
from model.trees import Tree
from model.weights.misfits import check_fit
from model.weights.soundness import check_finite
from model.weights.sources import State, read_open_clip_weights
from text_utils.hub import find_model
from text_utils.tokenizer import ClipTokenizer, OpenCLIPTokenizer, Tokenizer

RESAMPLING = {"bicubic": Resampling.BICUBIC, "bilinear": Resampling.BILINEAR}
POSITION_IDS = "text.transformer.embeddings.position_ids"  # a buffer that older versions saved


@dataclass(frozen=True)
class Description:
    """The description of a model in its source: `model_cfg`, and how pictures are prepared."""

    config: Tree
    preprocessing: Mapping[str, Any]


class OpenCLIPLoader(BackboneLoader):
    """`open_clip:ARCH/TAG`, `local-dir:FOLDER`, or a folder with open_clip_config.json."""

    def load(self, source: str, options: TowerOptions) -> OpenCLIP:
        if options.stride is not None or options.last_stride != 2:
            raise InputError(
                f"{source} has an image tower of open_clip, whose strides are fixed: leave "
                "model.stride null and model.last_stride 2"
            )
        config = deepcopy(_describe(source).config)
        vision, text = config["vision_cfg"], config["text_cfg"]
        body = _read_body(text, options.cache_dir)
        own_size = _sides(vision["image_size"])
        size = options.image_size or own_size
        if "timm_model_name" not in vision:  # timm's are resized when they have their weights
            vision["image_size"] = list(size)
        model = build_open_clip(config, body, options.dropout)
        state = read_open_clip_weights(source)
        check_finite(source, state)
        _fill(source, model, state)
        resize_images(model, size)
        shapes = _shapes(model, config, body, size, options.dropout)
        room, asked = shapes[1].context_length, options.context_length
        if asked is not None and asked > room:
            raise InputError(
                f"experiment.text_length is {asked}, but {source} has positions for {room} tokens: "
                f"give at most {room}"
            )
        return OpenCLIP(model, *shapes, options.gradient_checkpointing)

    def restore(self, architecture: TextArchitecture, options: TowerOptions) -> OpenCLIP:
        vision, text = architecture.vision, architecture.text
        assert isinstance(vision, ConfiguredShape)
        assert isinstance(text, ConfiguredTextShape)
        model = build_open_clip(vision.config, text.body, text.dropout)
        resize_images(model, vision.image_size)
        return OpenCLIP(model, vision, text, options.gradient_checkpointing)

    def read_vision_shape(self, tree: Tree) -> ImageShape:
        return ConfiguredShape(**{**tree, "image_size": tuple(tree["image_size"])})

    def read_text_shape(self, tree: Tree) -> TextShape:
        return ConfiguredTextShape(**tree)

    def resize_positions(
        self, state: State, own: TextArchitecture, asked: TextArchitecture
    ) -> State:
        held = own.vision.image_size
        if held != asked.vision.image_size:
            raise InputError(
                f"the checkpoint reads pictures of {held[0]} x {held[1]} pixels, which open_clip "
                f"changes for its own weights only: set data.image_size={list(held)}"
            )
        return state

    def build_tokenizer(self, source: str | None, cache_dir: str | None) -> Tokenizer:
        text = _describe(str(source)).config["text_cfg"]
        name = text.get("hf_tokenizer_name") or text.get("hf_model_name")
        trims = _trims(text)
        if name is None:
            return ClipTokenizer(trims)
        settings = text.get("tokenizer_kwargs") or {}
        if text.get("tokenizer_mode") or not settings.keys() <= {"clean"}:
            raise InputError(f"{source} asks for settings of its tokenizer that are not supported")
        folder = find_open_clip_folder(str(source))
        has_own = folder is not None and any(
            (folder / f).is_file() for f in OpenCLIPTokenizer.files
        )
        place = folder if folder is not None and has_own else _on_hub(name)
        clean = settings.get("clean", "whitespace")
        return OpenCLIPTokenizer(place, cache_dir, trims=trims, clean=clean)

    def read_preprocessing(self, source: str, cache_dir: str | None) -> Preprocessing:
        settings = _describe(source).preprocessing
        return Preprocessing(
            tuple(settings.get("mean", PIXEL_MEAN)),
            tuple(settings.get("std", PIXEL_STD)),
            RESAMPLING.get(settings.get("interpolation", "bicubic"), Resampling.BICUBIC),
        )


def _describe(source: str) -> Description:
    folder = find_open_clip_folder(source)
    if folder is not None:
        tree = read_json(folder / "open_clip_config.json")
        config, preprocessing = tree.get("model_cfg"), tree.get("preprocess_cfg") or {}
    else:
        arch, tag = split_open_clip_name(source)
        config = open_clip.get_model_config(arch)
        preprocessing = open_clip.get_pretrained_cfg(arch, tag)
    towers = [isinstance(config, dict) and config.get(key) for key in ("vision_cfg", "text_cfg")]
    if not (isinstance(config, dict) and all(isinstance(tower, dict) for tower in towers)):
        raise InputError(f"{source} describes no model of open_clip (model_cfg): download it again")
    config["vision_cfg"].setdefault("image_size", 224)
    return Description(config, preprocessing)


def _sides(size: object) -> tuple[int, int]:
    rows, columns = size if isinstance(size, list | tuple) else (size, size)
    return rows, columns


def _on_hub(name: str) -> str:
    """A name of transformers' as the hub has it: the oldest models had no organisation."""
    return name if "/" in name or os.path.isdir(name) else f"FacebookAI/{name}"


def _read_body(text: Tree, cache_dir: str | None) -> Tree | None:
    """The config.json of a text tower of transformers, without the code that it may name."""
    name = text.get("hf_model_name")
    if name is None:
        return None
    file = find_model(_on_hub(name), ["config.json"], cache_dir) / "config.json"
    return {key: value for key, value in read_json(file).items() if key != "auto_map"}


def _trims(text: Tree) -> bool:
    """Whether no token attends to padding."""
    if text.get("hf_model_name"):
        return True
    causal = not text.get("no_causal_mask") and not text.get("embed_cls")
    return causal and text.get("pool_type", "argmax") in ("argmax", "eos")


def _shapes(
    model: open_clip.CustomTextCLIP,
    config: Tree,
    body: Tree | None,
    size: tuple[int, int],
    dropout: float,
) -> tuple[ConfiguredShape, ConfiguredTextShape]:
    text, settings = model.text, config["text_cfg"]
    if body is None:
        width, room = text.token_embedding.embedding_dim, text.context_length
    else:
        width = text.config.hidden_size
        offset = text.config.pad_token_id + 1 if "roberta" in text.config.model_type else 0
        room = getattr(text.config, "max_position_embeddings", 512) - offset
    trunk = getattr(model.visual, "trunk", None)
    image_width = config["vision_cfg"].get("width", 768) if trunk is None else trunk.num_features
    settings.pop("hf_model_pretrained", None)
    return ConfiguredShape(image_width, image_size=size, config=config), ConfiguredTextShape(
        width,
        settings.get("layers", 12) if body is None else 0,
        settings.get("heads", 8) if body is None else 1,
        room,
        text.vocab_size,
        dropout,
        body=body,
        trims=_trims(settings),
    )


def _fill(source: str, model: nn.Module, state: State) -> None:
    """Load a state dict of open_clip or of a project that it reads.

    Raises:
        InputError: it does not fit.
    """
    state = convert_state_dict(model, dict(state))
    if "positional_embedding" in state:
        state = open_clip.model.convert_to_custom_text_state_dict(state)
    state.pop(POSITION_IDS, None)
    own = model.state_dict()
    scalars = {k: v.reshape(own[k].shape) for k, v in state.items() if k in own and v.numel() == 1}
    state |= scalars
    open_clip.model.resize_pos_embed(state, model)
    check_fit(source, state, own, "this model of open_clip")
    model.load_state_dict(state)


BACKBONE = OpenCLIPLoader()
