"""Sound weights of every format that is read, small, each made once."""

import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

import options
from misc.runtime.checkpoint import RunIdentity
from misc.tasks.text.model import describe, new_model
from model.architecture import TextArchitecture
from model.clip import CLIP, TextShape
from model.trees import Tree
from model.vit import VisionShape
from model.weights.published.irra import to_irra
from model.weights.published.tbps_clip import to_tbps_clip
from tests.altclip_folders import write_altclip_folder
from tests.archives import random_open_clip, write_openai_archive
from tests.backbone_folders import write_chinese_clip_folder, write_siglip_folder
from tests.conftest import SMALL

SIZES = {"width": 64, "text_width": 64, "vocab_size": 100, "context_length": 20, "layers": 1}


@cache
def folder() -> Path:
    """A folder of this process for the files below."""
    return Path(tempfile.mkdtemp(prefix="fuzz-weights-"))


@cache
def openai_state() -> dict[str, Tensor]:
    """A state dict in OpenAI's names."""
    return dict(random_open_clip(**SIZES, text_layers=1).state_dict())


@cache
def archive() -> bytes:
    """OpenAI's TorchScript archive."""
    write_openai_archive(folder() / "archive.pt", **SIZES, text_layers=1)
    return (folder() / "archive.pt").read_bytes()


@cache
def huggingface() -> Path:
    """A folder of CLIP in several shards."""
    vision = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = vision | {"intermediate_size": 128, "vocab_size": 100, "max_position_embeddings": 20}
    vision |= {"intermediate_size": 128, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(projection_dim=16, vision_config=vision, text_config=text)
    CLIPModel(config).save_pretrained(folder() / "clip", max_shard_size="100KB")
    return folder() / "clip"


@cache
def altclip() -> Path:
    """A folder of AltCLIP with its tokenizer and processor."""
    return write_altclip_folder(folder() / "altclip")


@cache
def siglip() -> Path:
    """A folder of SigLIP."""
    write_siglip_folder(folder() / "siglip")
    return folder() / "siglip"


@cache
def chinese_clip() -> Path:
    """A folder of Chinese-CLIP."""
    write_chinese_clip_folder(folder() / "chinese-clip")
    return folder() / "chinese-clip"


@cache
def small_content() -> Tree:
    """The same of two towers alone, with a short vocabulary."""
    vision = VisionShape(32, 1, 2, patch_size=8, stride=8, image_size=(32, 16))
    architecture = TextArchitecture("clip", vision, TextShape(32, 1, 2, 20, 100), 16, "gelu", 0)
    towers = CLIP(vision, architecture.text, 16, "gelu").state_dict()
    identity = RunIdentity(own_content()["config"], "demo", architecture)
    state = {f"clip.{name}": tensor for name, tensor in towers.items()}
    return identity.checkpoint(Path("checkpoint.pt"), state, 1).to_tree()


@cache
def own_content() -> Tree:
    """A checkpoint of this project, as its file holds it."""
    command = options.parse(["--config", f"{options.RECIPES}/demo.yaml", *SMALL])
    config = command.configure()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = new_model(config, None, num_identities=6)
    identity = RunIdentity(options.to_tree(config), "demo", describe(config, model))
    return identity.checkpoint(Path("checkpoint.pt"), model.state_dict(), 1).to_tree()


@cache
def irra_state() -> dict[str, Tensor]:
    """IRRA's checkpoint of two towers."""
    return to_irra(small_content()["model"])


@cache
def tbps_state() -> dict[str, Tensor]:
    """TBPS-CLIP's checkpoint of two towers."""
    return to_tbps_clip(small_content()["model"])
