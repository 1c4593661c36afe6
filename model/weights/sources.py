"""Sources of CLIP's weights: files, folders, the Hugging Face hub, open_clip.

Nothing is unpickled but tensors and plain types, and no code runs that a file brings along.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from errors import InputError
from model.backbones import KINDS
from model.recognition import find_open_clip_folder, is_plain_clip, read_json, split_open_clip_name
from model.transformer import Activation
from model.trees import Tree
from model.weights.soundness import check_finite, check_tensors, is_sound_zip
from model.weights.torchscript import is_torchscript, read_torchscript
from text_utils.hub import find_model, find_snapshot, is_repository

State = dict[str, Tensor]
# Beside the weights in archives: OpenAI's three numbers, and the causal mask once traced.
NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask")
WEIGHT_FILES = ("model*.safetensors", "pytorch_model.bin")  # of a folder, the best first


@dataclass(frozen=True)
class Weights:
    """The tensors of a source in the names of its format, and what else it tells, or None."""

    state: State
    format: Literal["openai", "huggingface"] = "openai"
    activation: Activation | None = None
    heads: tuple[int, int] | None = None  # vision, text
    image_size: tuple[int, int] | None = None  # rows, columns; None: a square


def read_weights(source: str | Path) -> Weights:
    """The weights of a file, a folder, `hf:ORG/NAME` or `open_clip:ARCH/TAG`, on the CPU.

    Raises:
        InputError: there is no such source, or it cannot be read as weights.
    """
    weights = _read(str(source), Path(source).expanduser())
    check_finite(source, weights.state)
    return weights


def _read(name: str, path: Path) -> Weights:
    if name.startswith("hf:"):
        return _read_folder(find_model(name.removeprefix("hf:"), WEIGHT_FILES))
    if name.startswith("open_clip:"):
        return _read_open_clip(name)
    if (folder := find_open_clip_folder(name)) is not None:
        config = read_json(folder / "open_clip_config.json").get("model_cfg")
        if not isinstance(config, dict):
            raise InputError(f"{folder}/open_clip_config.json has no model_cfg: download it again")
        return _of_open_clip(config, read_open_clip_weights(name), config)
    if os.path.isdir(path):  # unlike `Path.is_dir`, False for a name that is too long
        return _read_folder(find_snapshot(path))
    if os.path.isfile(path):
        return _read_file(path)
    hub = f"hf:{name}" if is_repository(name) and not path.suffix else "hf:ORG/NAME"
    raise InputError(
        f"there are no weights at {name}: give a file, a folder, local-dir:FOLDER, "
        f"open_clip:ARCH/TAG or {hub} (looked for from the last to the first)"
    )


def shorten(names: Collection[str], most: int = 5) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(sorted(names)[:most]) + more


def _read_file(path: Path) -> Weights:
    content = _load(path)
    if {"architecture", "recipe"} <= content.keys():
        raise InputError(
            f"{path} is a checkpoint of this project, not pretrained weights: start training from "
            "it by model.init_from"
        )
    for key in ("state_dict", "model"):
        if isinstance(content.get(key), Mapping):
            content = content[key]
    state = {
        str(name): value
        for name, value in content.items()
        if isinstance(value, Tensor) and name not in NO_WEIGHTS
    }
    if any(name.startswith("vision_model.") for name in state):
        raise InputError(f"{path} is in Hugging Face's names: give its folder, with config.json")
    return Weights(state, activation="quickgelu" if is_torchscript(path) else None)


def _load(path: Path) -> Tree:
    """The content of one weight file."""
    try:
        with path.open("rb") as file:
            head = file.read(512).lstrip().lower()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a git-LFS pointer, not the weights: run `git lfs pull` there")
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise InputError(f"{path} is a web page, not weights: its download failed, repeat it")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content = load_file(path)
        elif is_torchscript(path):
            content = read_torchscript(path)
        else:
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=is_sound_zip(path)
            )
    except Exception as error:  # whatever a foreign file makes its reader raise
        raise InputError(
            f"{path} cannot be read as weights, it is damaged or holds more than tensors and plain "
            "types: give a TorchScript archive, a state dict or safetensors"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}: give a file with a state dict")
    check_tensors(path, content)
    return content


def _read_folder(folder: Path) -> Weights:
    """A Hugging Face folder: config.json, and one or several weight files."""
    config = read_config(folder, "clip")
    vision, text = config.vision_config, config.text_config
    activation = read_activation(folder, vision, text)
    heads = (vision.num_attention_heads, text.num_attention_heads)
    return Weights(read_shards(folder), "huggingface", activation, heads)


def read_config(folder: Path, *kinds: str) -> Any:
    """The config.json of a Hugging Face folder, as transformers' object.

    Args:
        kinds: the values of `model_type` that are read.

    Raises:
        InputError: there is none, it describes a model of another kind, or one that cannot be.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise InputError(f"{folder} has no config.json: give the folder of a Hugging Face model")
    content = read_json(file)
    model_type = content.get("model_type")
    if model_type not in kinds:
        known = [name for kind in KINDS.values() for name in kind.model_types]
        advice = f"one of type {' or '.join(kinds)}"
        if model_type not in known:
            advice = "a backbone, which has open_clip_config.json or is of type "
            advice += f"{', '.join(known)} (looked for in this order)"
        raise InputError(f"{file} describes a model of type {model_type}: give {advice}")
    from transformers import CONFIG_MAPPING  # knows the values that the file leaves out

    try:
        return CONFIG_MAPPING[model_type].from_dict(content)
    except Exception as error:  # of its checks of types, and of what these do not foresee
        raise InputError(
            f"{file} does not describe a model of type {model_type} (it has values of other "
            "types): download it again"
        ) from error


def read_activation(folder: Path, *towers: Any) -> Activation:
    """The activation of the towers that are so configured."""
    asked = {(str(tower.hidden_act), tower.layer_norm_eps) for tower in towers}
    activations: dict[str, Activation] = {"quick_gelu": "quickgelu", "gelu": "gelu"}
    if asked not in [{(name, 1e-5)} for name in activations]:
        raise InputError(
            f"{folder / 'config.json'} asks for (hidden_act, layer_norm_eps) {sorted(asked)}: "
            "one of quick_gelu and gelu, with 1e-05, is supported"
        )
    return activations[towers[0].hidden_act]


def read_shards(folder: Path) -> State:
    """The tensors of a Hugging Face folder, in one weight file or several."""
    return {
        name: tensor
        for shard in _weight_files(folder)
        for name, tensor in _load(shard).items()
        if isinstance(name, str)
        and isinstance(tensor, Tensor)
        and not name.endswith(".position_ids")  # a buffer that older versions saved
    }


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = [folder / name for name in _shard_names(index)]
    else:
        whole = [folder / name for name in ("model.safetensors", "pytorch_model.bin")]
        files = [file for file in whole if file.is_file()][:1]
    absent = [file.name for file in files if not file.is_file()]
    if absent or not files:
        lacks = shorten(absent) or "model.safetensors or pytorch_model.bin"
        raise InputError(f"{folder} has no {lacks}: download the whole model")
    return files


def _shard_names(index: Path) -> list[str]:
    """The files that an index lists; they lie beside it."""
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise InputError(f"{index} has no weight_map from tensors to files: download it again")
    for name in shards.values():
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise InputError(
                f"{index} names {name!r}, which is no safetensors file beside it: download the "
                "model from a source that you trust"
            )
    return sorted(set(shards.values()))


def _read_open_clip(name: str) -> Weights:
    """`open_clip:ARCH/TAG` in open_clip's names."""
    import open_clip

    arch, tag = split_open_clip_name(name)
    _check_open_clip_name(arch, tag)
    config = open_clip.get_model_config(arch)
    if not is_plain_clip(config):
        raise InputError(
            f"open_clip's {arch} pools unlike CLIP, or has other towers: set model.backbone to "
            "open_clip"
        )
    state = read_open_clip_weights(name)
    # Where the two differ, the tag knows how its weights were trained.
    return _of_open_clip(config, state, open_clip.get_pretrained_cfg(arch, tag) or config)


def _of_open_clip(config: Tree, state: State, activation: Tree) -> Weights:
    import open_clip

    vision = open_clip.CLIPVisionCfg(**config["vision_cfg"])
    text = open_clip.CLIPTextCfg(**config["text_cfg"])
    # A ResNet's `layers` are four numbers, and its heads divide layer4's channels.
    channels = vision.width if isinstance(vision.layers, int) else 32 * vision.width
    heads = (channels // vision.head_width, text.heads)
    quickgelu = activation.get("quick_gelu", False)
    size = vision.image_size
    sides = (size[0], size[1]) if isinstance(size, list | tuple) else None
    return Weights(state, "openai", "quickgelu" if quickgelu else "gelu", heads, sides)


def read_open_clip_weights(source: str) -> State:
    """The tensors of `open_clip:ARCH/TAG` or `local-dir:FOLDER`, as the file has them.

    Raises:
        InputError: there is no such model, or it cannot be read.
    """
    folder = find_open_clip_folder(source)
    if folder is not None:
        names = [f"open_clip_{n}" for n in ("model.safetensors", "pytorch_model.safetensors")]
        names += ["open_clip_pytorch_model.bin", "open_clip_model.pt"]
        file = next((folder / name for name in names if (folder / name).is_file()), None)
        if file is None:
            raise InputError(f"{folder} has no {' or '.join(names)}: download the whole model")
        return _read_file(file).state
    import open_clip

    arch, tag = split_open_clip_name(source)
    _check_open_clip_name(arch, tag)
    if os.path.isfile(tag):
        return _read_file(Path(tag)).state
    try:
        known = open_clip.get_pretrained_cfg(arch, tag)
        if not known:
            raise InputError("it has no such tag")
        file = Path(open_clip.factory.download_pretrained(known))
    except Exception as error:  # of the network, of the cache
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"open_clip cannot give {arch} with {tag}: {reason}") from error
    return {name.removeprefix("module."): t for name, t in _read_file(file).state.items()}


def _check_open_clip_name(arch: str, tag: str) -> None:
    import open_clip

    if arch not in open_clip.list_models():
        raise InputError(f"open_clip has no {arch}: open_clip.list_pretrained() lists what it has")
    if not tag:
        tags = shorten(open_clip.list_pretrained_tags_by_model(arch))
        raise InputError(f"open_clip:{arch} lacks a tag: give open_clip:{arch}/TAG, of {tags}")
