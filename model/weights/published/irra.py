"""Checkpoints of IRRA's code (Jiang and Ye, CVPR 2023, arXiv 2303.12501)."""

from collections.abc import Mapping

from torch import Tensor

from model.weights.key_maps import Names, join_in_proj, rename_all, reverse, split_in_proj
from model.weights.published.format import Geometry, PublishedFormat
from model.weights.published.text_towers import DECODER, text_reader
from model.weights.sources import State

IRRA: Names = (
    ("clip.logit_scale", "base_model.logit_scale"),
    ("clip.visual.transformer.blocks.", "base_model.visual.transformer.resblocks."),
    ("clip.visual.", "base_model.visual."),
    ("clip.text.transformer.blocks.", "base_model.transformer.resblocks."),
    ("clip.text.token_embedding.", "base_model.token_embedding."),
    ("clip.text.positional_embedding", "base_model.positional_embedding"),
    ("clip.text.ln_final.", "base_model.ln_final."),
    ("clip.text.projection", "base_model.text_projection"),
    *DECODER,
)


def from_irra(state: Mapping[str, Tensor]) -> State:
    """IRRA's names to those of our model."""
    return split_in_proj(rename_all(state, reverse(IRRA)))


def to_irra(state: Mapping[str, Tensor]) -> State:
    """The names of our model to IRRA's, the inverse of `from_irra`."""
    return rename_all(join_in_proj(state), IRRA)


FORMAT = PublishedFormat(
    "IRRA",
    "text_to_image",
    recognises=lambda names: "base_model.token_embedding.weight" in names,
    read=text_reader(from_irra, temperature=0.02),  # a constant outside the weights
    geometries=(Geometry((384, 128)),),
    cleans_captions=False,
)
