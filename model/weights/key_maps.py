"""Names of CLIP's weights: ours, OpenAI's and Hugging Face's."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from model.weights.sources import State

# (ours, theirs): how a name begins or, where both start with a dot, a part of it.
Names = tuple[tuple[str, str], ...]
# What is not listed, all of the ResNet among it, has the same name in both.
OPENAI: Names = (
    ("visual.transformer.blocks.", "visual.transformer.resblocks."),
    ("text.transformer.blocks.", "transformer.resblocks."),
    ("text.token_embedding.", "token_embedding."),
    ("text.positional_embedding", "positional_embedding"),
    ("text.ln_final.", "ln_final."),
    ("text.projection", "text_projection"),
)
HUGGINGFACE: Names = (
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.conv1.", "vision_model.embeddings.patch_embedding."),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.ln_pre.", "vision_model.pre_layrnorm."),
    ("visual.transformer.blocks.", "vision_model.encoder.layers."),
    ("visual.ln_post.", "vision_model.post_layernorm."),
    ("visual.proj", "visual_projection.weight"),
    ("text.token_embedding.", "text_model.embeddings.token_embedding."),
    ("text.positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("text.transformer.blocks.", "text_model.encoder.layers."),
    ("text.ln_final.", "text_model.final_layer_norm."),
    ("text.projection", "text_projection.weight"),
    (".ln_1.", ".layer_norm1."),
    (".attn.", ".self_attn."),
    (".ln_2.", ".layer_norm2."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
)
PROJECTIONS = ("visual.proj", "text.projection")  # (width, D) here, (D, width) in Hugging Face's


def rename(name: str, names: Names) -> str:
    """A name of ours as the other format has it."""
    for old, new in names:
        if name.startswith(old) or (old.startswith(".") and old in name):
            name = name.replace(old, new, 1)
    return name


def rename_all(state: Mapping[str, Tensor], names: Names) -> State:
    """The same tensors under the other format's names."""
    return {rename(name, names): tensor for name, tensor in state.items()}


def reverse(names: Names) -> Names:
    """The way back: the other format's names to ours."""
    return tuple((theirs, ours) for ours, theirs in names)


def split_in_proj(state: Mapping[str, Tensor]) -> State:
    """Every block's `attn.in_proj_*` (3D, ...) as `q_proj`, `k_proj` and `v_proj` (D, ...)."""
    split = {}
    for name, tensor in state.items():
        if ".attn.in_proj_" in name and tensor.ndim:
            for part, piece in zip("qkv", tensor.tensor_split(3), strict=True):
                split[name.replace("in_proj_", f"{part}_proj.")] = piece
        else:
            split[name] = tensor
    return split


def join_in_proj(state: Mapping[str, Tensor]) -> State:
    """The inverse of `split_in_proj`."""
    joined = {}
    for name, tensor in state.items():
        if ".attn.q_proj." in name:
            whole = [state[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            joined[name.replace("q_proj.", "in_proj_")] = torch.cat(whole)
        elif ".attn.k_proj." not in name and ".attn.v_proj." not in name:
            joined[name] = tensor
    return joined


def from_openai(state: Mapping[str, Tensor]) -> State:
    """OpenAI's names to ours; `in_proj` (3D, ...) is split into `q_proj`, `k_proj`, `v_proj`."""
    return split_in_proj(rename_all(state, reverse(OPENAI)))


def to_openai(state: Mapping[str, Tensor]) -> State:
    """Our names to OpenAI's, the inverse of `from_openai`."""
    return rename_all(join_in_proj(state), OPENAI)


def from_huggingface(state: Mapping[str, Tensor]) -> State:
    """The names of `transformers.CLIPModel` to ours; the two projections are transposed."""
    return transpose_projections(rename_all(state, reverse(HUGGINGFACE)))


def to_huggingface(state: Mapping[str, Tensor]) -> State:
    """Our names to those of `transformers.CLIPModel`, the inverse of `from_huggingface`."""
    return rename_all(transpose_projections(state), HUGGINGFACE)


def transpose_projections(state: Mapping[str, Tensor]) -> State:
    """The projections (width, D) as (D, width), or back; the rest as it is."""
    return {k: v.t().contiguous() if k in PROJECTIONS else v for k, v in state.items()}


class Format(NamedTuple):
    names: Names
    to_ours: Callable[[Mapping[str, Tensor]], State]
    from_ours: Callable[[Mapping[str, Tensor]], State]


FORMATS = {
    "openai": Format(OPENAI, from_openai, to_openai),
    "huggingface": Format(HUGGINGFACE, from_huggingface, to_huggingface),
}
