"""Checkpoints of RDE's code (Qin et al., CVPR 2024, arXiv 2308.09911): IRRA's towers with the heads
of a second embedding.

Some of its parameters are never used: `linear` of the image head, in place of which `fc` is, and
the second batch norm of both. They are left out.
"""

from collections.abc import Mapping

from torch import Tensor

from model.weights.key_maps import Names, rename_all, reverse
from model.weights.published.format import Geometry, PublishedFormat
from model.weights.published.irra import from_irra
from model.weights.published.text_towers import text_reader
from model.weights.sources import State

# (ours, theirs) within a head; `linear` is `fc` in that of the image.
HEAD_NAMES: Names = (
    ("mlp.0.", "mlp.layers.0."),
    ("mlp.1.", "mlp.bns.0."),
    ("mlp.3.", "mlp.layers.1."),
    ("linear.", "linear."),
)
IMAGE, TEXT = "visul_emb_layer.", "texual_emb_layer."  # as they are spelt there
RDE: Names = (
    *((f"image_selector.{ours}", f"{IMAGE}{theirs}") for ours, theirs in HEAD_NAMES[:-1]),
    ("image_selector.linear.", f"{IMAGE}fc."),
    *((f"text_selector.{ours}", f"{TEXT}{theirs}") for ours, theirs in HEAD_NAMES),
)
UNUSED = (f"{IMAGE}linear.", f"{IMAGE}mlp.bns.1.", f"{TEXT}mlp.bns.1.")


def from_rde(state: Mapping[str, Tensor]) -> State:
    """RDE's names to those of our model."""
    used = {name: tensor for name, tensor in state.items() if not name.startswith(UNUSED)}
    return from_irra(rename_all(used, reverse(RDE)))


FORMAT = PublishedFormat(
    "RDE",
    "text_to_image",
    recognises=lambda names: f"{IMAGE}fc.weight" in names,
    read=text_reader(from_rde, temperature=0.02),
    geometries=(Geometry((384, 128)),),
    cleans_captions=False,
)
