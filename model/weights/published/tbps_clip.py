"""Checkpoints of TBPS-CLIP's code (Cao et al., AAAI 2024, arXiv 2308.10045)."""

from collections.abc import Mapping

from torch import Tensor

from model.weights.key_maps import Names, join_in_proj, rename_all, reverse, split_in_proj
from model.weights.published.format import PublishedFormat
from model.weights.published.text_towers import DECODER, text_reader
from model.weights.sources import State

TBPS_CLIP: Names = (
    ("clip.logit_scale", "logit_scale"),
    ("clip.visual.transformer.blocks.", "visual.transformer.resblocks."),
    ("clip.visual.", "visual."),
    ("clip.text.transformer.blocks.", "encode_text.transformer.resblocks."),
    ("clip.text.projection", "encode_text.text_projection"),
    ("clip.text.", "encode_text."),
    *DECODER,
)


def from_tbps_clip(state: Mapping[str, Tensor]) -> State:
    """TBPS-CLIP's names to those of our model."""
    return split_in_proj(rename_all(state, reverse(TBPS_CLIP)))


def to_tbps_clip(state: Mapping[str, Tensor]) -> State:
    """The names of our model to TBPS-CLIP's, the inverse of `from_tbps_clip`."""
    return rename_all(join_in_proj(state), TBPS_CLIP)


FORMAT = PublishedFormat(
    "TBPS-CLIP",
    "text_to_image",
    recognises=lambda names: "encode_text.token_embedding.weight" in names,
    read=text_reader(from_tbps_clip, temperature=0.07),  # that its training starts from
)
