"""Small random folders of the families of backbones, written by the libraries they belong to."""

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import open_clip
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    AutoTokenizer,
    BertTokenizer,
    ChineseCLIPConfig,
    ChineseCLIPModel,
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
    XLMRobertaConfig,
)

from tests.altclip_folders import write_altclip_folder

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-,红色上衣的女生男背包"
SIZE = {"hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 2}
SIZE |= {"num_attention_heads": 4}


def shake(model: nn.Module) -> nn.Module:
    """The model in evaluation mode, with biases, norms and matrices that none hides."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
        elif parameter.ndim == 2 and "embedding" not in name:
            parameter.data.normal_(std=parameter.shape[1] ** -0.5)
    return model.eval()


def write_siglip_folder(folder: Path, kind: str = "siglip") -> nn.Module:
    """SigLIP, or SigLIP 2 for `siglip2`: the resolution is fixed, or for `naflex` any.

    Returns:
        The model of transformers.
    """
    tokenizer = _write_letter_tokenizer(folder, pads_by_end=kind == "siglip")
    text = {**SIZE, "vocab_size": len(tokenizer), "max_position_embeddings": 64}
    text |= {"projection_size": 32, "pad_token_id": tokenizer.pad_token_id}
    vision: dict[str, Any] = {**SIZE, "intermediate_size": 72, "patch_size": 8}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "naflex":
            vision |= {"num_patches": 16}
            model = Siglip2Model(Siglip2Config(text_config=text, vision_config=vision))
        else:
            vision |= {"image_size": 32}
            model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
        shake(model)
        model.logit_scale.data.fill_(4.7)
        model.logit_bias.data.fill_(-12.9)
    model.save_pretrained(folder)
    transformers.SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return model


def write_clip_folder(folder: Path) -> nn.Module:
    """CLIP in transformers' layout; the model of transformers."""
    vision = {**SIZE, "intermediate_size": 72, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config=SIZE, vision_config=vision, projection_dim=32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = shake(CLIPModel(config))
    model.save_pretrained(folder)
    return model


def write_chinese_clip_folder(folder: Path) -> nn.Module:
    """Chinese-CLIP with BERT's tokenizer; the model of transformers."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS)]
    tokenizer = BertTokenizer({piece: number for number, piece in enumerate(pieces)})
    tokenizer.save_pretrained(folder)
    text = {**SIZE, "vocab_size": len(pieces), "max_position_embeddings": 96}
    vision = {**SIZE, "intermediate_size": 72, "image_size": 32, "patch_size": 8}
    config = ChineseCLIPConfig(text_config=text, vision_config=vision, projection_dim=32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = shake(ChineseCLIPModel(config))
    model.save_pretrained(folder)
    return model


def _write_letter_tokenizer(folder: Path, pads_by_end: bool) -> PreTrainedTokenizerFast:
    """Every letter a piece; an end, no start, as SigLIP's tokenizers."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = ["<pad>", "</s>", "<unk>", *LETTERS, " "]
    numbers = {piece: number for number, piece in enumerate(pieces)}
    backend = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="</s>" if pads_by_end else "<pad>",
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2}
PLAIN = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 8}
OPEN_CLIP = {
    "eva02": {
        "vision_cfg": {"timm_model_name": "eva02_tiny_patch14_224", "timm_pool": "token"}
        | {"timm_proj": "linear", "image_size": 224},
        "text_cfg": TEXT,
        "custom_text": True,
    },
    "mobileclip2": {
        "vision_cfg": {"timm_model_name": "fastvit_mci0", "timm_pool": "avg", "timm_proj": None}
        | {"image_size": 64},
        "text_cfg": TEXT | {"no_causal_mask": True},
        "custom_text": True,
    },
    "pe": {
        "vision_cfg": {"timm_model_name": "vit_pe_core_tiny_patch16_384", "timm_pool": "map"}
        | {"timm_proj": None, "image_size": 384},
        "text_cfg": TEXT,
        "custom_text": True,
    },
    "pooled": {
        "vision_cfg": PLAIN | {"pool_type": "avg", "no_ln_pre": True, "final_ln_after_pool": True},
        "text_cfg": TEXT | {"pool_type": "last", "no_causal_mask": True, "proj_bias": True},
        "custom_text": True,
        "init_logit_bias": -10,
    },
    "bigg": {
        "vision_cfg": PLAIN | {"mlp_ratio": 4.9231, "head_width": 16},
        "text_cfg": TEXT | {"mlp_ratio": 4.0, "heads": 2},
    },
    "xlmr": {
        "vision_cfg": PLAIN,
        "text_cfg": {"hf_pooler_type": "mean_pooler", "hf_proj_type": "mlp"},
    },
}


def write_open_clip_folder(folder: Path, family: str) -> nn.Module:
    """A folder in open_clip's layout: configuration and weights; the model of open_clip."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"embed_dim": 32, **deepcopy(OPEN_CLIP[family])}
    if family == "xlmr":
        body = write_altclip_folder(folder / "text", text_width=32)
        settings = XLMRobertaConfig(
            vocab_size=len(AutoTokenizer.from_pretrained(body, trust_remote_code=False)),
            **SIZE,
            max_position_embeddings=130,
            pad_token_id=1,
        )
        settings.save_pretrained(body)
        for file in body.glob("*token*"):  # where open_clip looks for it
            shutil.copy(file, folder)
        names = {"hf_model_name": str(body), "hf_tokenizer_name": "xlm-roberta-base"}
        config["text_cfg"] |= names
    preprocessing = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "interpolation": "bilinear"}
    tree = {"model_cfg": config, "preprocess_cfg": preprocessing}
    (folder / "open_clip_config.json").write_text(json.dumps(tree))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        source = f"local-dir:{folder}"
        model = open_clip.create_model(
            source, pretrained_text=False, load_weights=False, weights_only=True
        )
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.data += 0.1 * torch.randn_like(parameter)
            elif name.endswith("logit_scale"):
                parameter.data.fill_(3.0)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return model.eval()
