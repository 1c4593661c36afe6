"""Checkpoints of CSKT's code (Liu et al., ICASSP 2024, arXiv 2309.09496): IRRA's, with prompts and
adapters beside.

The prompts of each block are a tensor there, under another name in the first block; here those of
all blocks are one tensor.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from model.tuning.description import AdapterTuning, PromptTuning, Tuning
from model.weights.key_maps import Names, rename_all, reverse
from model.weights.published.format import Geometry, PublishedFormat
from model.weights.published.irra import from_irra, to_irra
from model.weights.published.text_towers import text_reader
from model.weights.sources import State

IMAGE_SCALE, TEXT_SCALE = 0.1, 4.0  # of the adapters; the weights do not tell
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


def read_tuning(towers: Mapping[str, Tensor]) -> Tuning:
    """The tuning that these weights, named without `clip.`, belong to."""
    depth, n_ctx, _ = towers["prompts.text"].shape

    def read_adapters(name: str, scale: float) -> AdapterTuning:
        channels, width = towers[name].shape
        return AdapterTuning(width // channels, scale)

    return Tuning(
        prompts=PromptTuning(n_ctx, depth, "both"),
        image_adapters=read_adapters(IMAGE_ADAPTER, IMAGE_SCALE),
        text_adapters=read_adapters(TEXT_ADAPTER, TEXT_SCALE),
    )


def from_cskt(state: Mapping[str, Tensor]) -> State:
    """CSKT's names to those of our model."""
    return from_irra(from_prompt_learner(state))


def to_cskt(state: Mapping[str, Tensor]) -> State:
    """The names of our model to CSKT's, the inverse of `from_cskt`."""
    return to_irra(to_prompt_learner(state))


FORMAT = PublishedFormat(
    "CSKT",
    "text_to_image",
    recognises=lambda names: LANDMARK in names,
    read=text_reader(from_cskt, 0.02, LANDMARKS, read_tuning),
    geometries=(Geometry((384, 128)),),
    cleans_captions=False,
)
