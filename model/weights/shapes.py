"""Shapes of CLIP's towers, read from weights in our names."""

import math
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from errors import InputError
from model.architecture import ImageShape
from model.clip import TextShape
from model.configured import ConfiguredShape
from model.resnet import ResNetShape
from model.vit import VisionShape
from model.weights.key_maps import PROJECTIONS
from model.weights.sources import State

POSITIONS = ("visual.positional_embedding", "text.positional_embedding")
RESNET_POSITIONS = ("visual.attnpool.positional_embedding", "text.positional_embedding")
# The tensors that the architecture is read from, and their dimensions.
LANDMARKS = {
    "visual.conv1.weight": 4,
    "text.token_embedding.weight": 2,
    **dict.fromkeys(PROJECTIONS + POSITIONS, 2),
}
RESNET_LANDMARKS = {
    "visual.conv3.weight": 4,
    **{f"visual.layer{i}.0.conv1.weight": 4 for i in (1, 2, 3, 4)},
    "visual.attnpool.c_proj.weight": 2,
    "text.token_embedding.weight": 2,
    "text.projection": 2,
    **dict.fromkeys(RESNET_POSITIONS, 2),
}


def read_shapes(state: State, heads: tuple[int, int] | None) -> tuple[ImageShape, TextShape]:
    """The architecture of tensors in our names; heads are 64 wide, as OpenAI's, unless given."""
    vision_heads, text_heads = heads or (None, None)
    return read_vision_shape(state, vision_heads), read_text_shape(state, text_heads)


def read_vision_shape(state: State, heads: int | None) -> ImageShape:
    """The image tower of tensors `visual.*`, for a square at CLIP's own strides."""
    side = math.isqrt(len(state[position_names(state)[0]]) - 1)
    if is_resnet(state):
        width = len(state["visual.conv3.weight"])
        one, two, three, four = (_count_blocks(state, f"visual.layer{i}.") for i in (1, 2, 3, 4))
        sides = (side * 32, side * 32)
        return ResNetShape(width, (one, two, three, four), heads or _usual_heads(32 * width), sides)
    width, _, _, patch = state["visual.conv1.weight"].shape
    layers = _count_blocks(state, "visual.transformer.blocks.")
    sides, mlp_width = (side * patch, side * patch), _read_mlp_width(state, "visual", width)
    return VisionShape(width, layers, heads or _usual_heads(width), patch, patch, sides, mlp_width)


def read_text_shape(state: State, heads: int | None) -> TextShape:
    """The text tower of tensors `text.*`."""
    vocab_size, width = state["text.token_embedding.weight"].shape
    context_length = len(state["text.positional_embedding"])
    layers = _count_blocks(state, "text.transformer.blocks.")
    return TextShape(
        width,
        layers,
        heads or _usual_heads(width),
        context_length,
        vocab_size,
        mlp_width=_read_mlp_width(state, "text", width),
    )


def _read_mlp_width(state: State, tower: str, width: int) -> int | None:
    hidden = state.get(f"{tower}.transformer.blocks.0.mlp.c_fc.weight")
    return None if hidden is None or not hidden.ndim else unless_usual(len(hidden), width)


def unless_usual(mlp_width: int, width: int) -> int | None:
    """The width of MLPs as shapes have it: None if it is four times the width."""
    return None if mlp_width == 4 * width else mlp_width


def _usual_heads(width: int) -> int:
    return max(1, width // 64)


def _count_blocks(state: State, prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def is_resnet(state: Collection[str]) -> bool:
    """Whether these names of ours, or of OpenAI, are of CLIP with a ResNet image tower."""
    return any(name.startswith("visual.layer1.") for name in state)


def position_names(state: Collection[str]) -> tuple[str, str]:
    """Names of the image and the text position embeddings among these names of ours."""
    return RESNET_POSITIONS if is_resnet(state) else POSITIONS


def check_sizes(
    source: str | Path,
    vision: ImageShape,
    text: TextShape | None,
    embed_dim: int,
    num_values: int,
) -> None:
    """Check the sizes of towers before they are built.

    Args:
        num_values: in the weights that they are to be filled with.

    Raises:
        InputError: no tower is like this, or it takes more values than there are.
    """
    # (width, blocks, heads, rows of embeddings or of an MLP)
    towers = [_tower_of(vision)]
    if text is not None:
        rows = max(text.vocab_size + text.context_length, text.mlp_width or 0)
        towers.append((text.width, text.layers, text.heads, rows))
    for width, layers, heads, rows in towers:
        if min(width, heads, embed_dim) < 1 or width % heads:
            raise InputError(
                f"{source} describes a tower of width {width} with {heads} heads and {embed_dim} "
                "output channels, which cannot be: give other weights"
            )
        if width * max(width * layers, rows, embed_dim) > num_values:
            raise InputError(
                f"{source} describes a larger model than its {num_values} values can fill: it is "
                "damaged, get it again"
            )


def _tower_of(vision: ImageShape) -> tuple[int, int, int, int]:
    rows = math.prod(vision.grid)
    if isinstance(vision, VisionShape):
        return vision.width, vision.layers, vision.heads, max(rows, vision.mlp_width or 0)
    return 32 * vision.width, sum(vision.layers) // 16, vision.heads, rows  # of layer4


def set_stride(
    source: str | Path, vision: ImageShape, stride: int | None, last_stride: int
) -> ImageShape:
    """The shape of a source's image tower with the strides of `load_clip`.

    Raises:
        InputError: a stride was given that the tower does not have.
    """
    if isinstance(vision, ConfiguredShape):
        if stride is not None or last_stride != 2:
            raise InputError(
                f"{source} has an image tower of open_clip, whose strides are fixed: leave "
                "model.stride null and model.last_stride 2"
            )
        return vision
    if isinstance(vision, VisionShape):
        if last_stride != 2:
            raise InputError(
                f"{source} has a ViT image tower, whose last stride cannot be {last_stride}: leave "
                "it 2, or give weights with a ResNet"
            )
        return replace(vision, stride=stride or vision.patch_size)
    if stride is not None:
        raise InputError(
            f"{source} has a ResNet image tower, which has no patches: leave model.stride null "
            f"instead of {stride}"
        )
    return replace(vision, last_stride=last_stride)
