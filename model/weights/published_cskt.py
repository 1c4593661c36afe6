"""CSKT's published checkpoints, as far as they are not IRRA's: prompts and adapters.

What a block is given has a name of its own there, and another one for the first block; here the
vectors of all blocks are one tensor.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from model.tuning.cskt import IMAGE_SCALE, TEXT_SCALE
from model.weights import Names, rename_all, reverse
from model.weights.sources import State

LANDMARK = "base_model.visual.transformer.resblocks.0.adapter_mlp.down.weight"
ADAPTERS: Names = ((".adapter.ln_3.", ".ln_3."), (".adapter.", ".adapter_mlp."))
# (ours, theirs of the first block, theirs of the later ones)
VECTORS = (
    ("text", "ctx", "compound_prompts_text"),
    ("image", "vision", "compound_prompts_vision"),
)
MAPS = (
    ("text_to_image", "tmap", "compound_prompt_projections"),
    ("image_to_text", "vmap", "compound_prompt_projections_vision"),
)
IMAGE_ADAPTER = "visual.transformer.blocks.0.adapter.down.weight"  # (width / reduction, width)
TEXT_ADAPTER = "text.transformer.blocks.0.adapter.down.weight"
# Those of our names that `read_tuning` reads, and their dimensions.
LANDMARKS = {"prompts.text": 3, IMAGE_ADAPTER: 2, TEXT_ADAPTER: 2}


def from_prompt_learner(state: Mapping[str, Tensor]) -> State:
    """CSKT's names of prompts and adapters to ours; the rest, IRRA's, as it is."""
    depth = 1 + sum(name.startswith("prompt_learner.compound_prompts_text.") for name in state)
    table = {theirs: ours for ours, theirs in _prompt_names(depth).items()}
    named = rename_all(state, reverse(ADAPTERS))
    ours = {table.get(name, name): tensor for name, tensor in named.items()}
    for kind, *_ in VECTORS:
        names = [f"clip.prompts.{kind}.{i}" for i in range(depth)]
        # else they are left alone, to be named as what does not fit
        if ours.keys() >= set(names) and len({ours[name].shape for name in names}) == 1:
            ours[f"clip.prompts.{kind}"] = torch.stack([ours.pop(name) for name in names])
    return ours


def to_prompt_learner(state: Mapping[str, Tensor]) -> State:
    """Our names of prompts and adapters to CSKT's, the inverse of `from_prompt_learner`."""
    theirs = rename_all(state, ADAPTERS)
    depth = 0
    for kind, *_ in VECTORS:
        layers = theirs.pop(f"clip.prompts.{kind}")
        theirs |= {f"clip.prompts.{kind}.{i}": layer for i, layer in enumerate(layers)}
        depth = len(layers)
    table = _prompt_names(depth)
    return {table.get(name, name): tensor for name, tensor in theirs.items()}


def _prompt_names(depth: int) -> dict[str, str]:
    """Ours to theirs, our vectors with the number of their block."""
    table = {}
    for ours, first, later in (*VECTORS, *MAPS):
        for i in range(depth):
            theirs = f"{later}.{i - 1}" if i else first
            for part in ("", ".weight", ".bias"):
                table[f"clip.prompts.{ours}.{i}{part}"] = f"prompt_learner.{theirs}{part}"
    return table


def read_tuning(towers: Mapping[str, Tensor]) -> dict[str, Any]:
    """What `cskt.tune` makes a backbone for these weights from; names without `clip.`."""
    depth, n_ctx, _ = towers["prompts.text"].shape

    def adapters(name: str, scale: float) -> dict[str, Any]:
        channels, width = towers[name].shape
        return {"reduction": width // channels, "scale": scale, "blocks": None}

    return {
        "prompts": {"n_ctx": n_ctx, "depth": depth, "direction": "both"},
        "image_adapters": adapters(IMAGE_ADAPTER, IMAGE_SCALE),
        "text_adapters": adapters(TEXT_ADAPTER, TEXT_SCALE),
    }
