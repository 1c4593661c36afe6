"""CLIP's weights: published names to ours and back, and the model that they make."""

import logging
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from errors import InputError
from model.clip import CLIP, TextShape
from model.resnet import ResNetShape
from model.transformer import Activation
from model.vit import VisionShape
from model.weights.sources import State, Weights, read_weights, shorten

logger = logging.getLogger(__name__)

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
        if ".attn.in_proj_" in name:
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


def resize_position_embedding(
    embedding: Tensor,
    grid: tuple[int, int],
    mode: Literal["bilinear", "bicubic"] = "bilinear",
    *,
    own_grid: tuple[int, int] | None = None,
) -> Tensor:
    """Interpolate an image tower's position embedding to another grid; the class row stays.

    Args:
        embedding: (1+N, D), N the patches of a picture, row by row.
        grid: rows and columns of patches wanted.
        mode: "bilinear" as TBPS-CLIP and IRRA, "bicubic" as transformers; corners not aligned.
        own_grid: rows and columns of the N patches; a square's, if it is one, unless given. Of a
            rectangle whose sides are not given, N may only be `rows * columns` already.

    Returns:
        (1 + rows * columns, D), float32 if interpolated.

    Raises:
        InputError: N tells no sides, and is not what is wanted.
    """
    patches, side = len(embedding) - 1, math.isqrt(len(embedding) - 1)
    if own_grid is None:
        own_grid = (side, side) if side**2 == patches else grid
    if math.prod(own_grid) != patches:
        raise InputError(
            f"a position embedding of {patches} patches is neither square nor {grid[0]} x "
            f"{grid[1]}: set the image size and the stride that the weights were made for"
        )
    if own_grid == grid:
        return embedding
    picture = embedding[1:].float().t().reshape(1, -1, *own_grid)  # (1, D, rows, columns)
    resized = F.interpolate(picture, size=grid, mode=mode, align_corners=False)
    return torch.cat([embedding[:1].float(), resized[0].flatten(1).t()])


def resize_text_positions(embedding: Tensor, length: int) -> Tensor:
    """Interpolate text positions (L, D) to (length, D), length >= 3, as TBPS-CLIP does.

    The first and the last row are kept, those between linearly interpolated; float32 then.
    """
    if len(embedding) == length:
        return embedding
    embedding = embedding.float()
    middle = F.interpolate(embedding[1:-1].t()[None], size=length - 2, mode="linear")[0].t()
    return torch.cat([embedding[:1], middle, embedding[-1:]])


def load_clip(
    source: str | Path,
    image_size: int | tuple[int, int] | None = None,
    stride: int | None = None,
    context_length: int = 77,
    *,
    last_stride: int = 2,
    activation: Activation | Literal["auto"] = "auto",
    dropout: float = 0.0,
    gradient_checkpointing: bool = False,
) -> CLIP:
    """CLIP with the weights of `source`, in float32; the architecture is read from the weights.

    Args:
        source: a file (OpenAI's TorchScript archive, or a state dict in OpenAI's names as .pt, .pth
            or .safetensors), a Hugging Face folder or the root of its cache, `hf:ORG/NAME`, or
            `open_clip:ARCH/TAG`.
        image_size: (rows, columns) in pixels, or the side of a square; None: that of the weights.
        stride: of a ViT, pixels from patch to patch; None: the patch size.
        context_length: tokens of the longest caption.
        last_stride: of a ResNet's layer4; 2 is CLIP's own, 1 CLIP-ReID's.
        activation: "auto" is what the source tells; a plain state dict tells nothing: QuickGELU
            then, and a line in the log.
        dropout: of the text tower's attention weights, in training only.

    Raises:
        InputError: there is no such source, it cannot be read, its tensors do not fit, or a stride
            was given that its image tower does not have.
    """
    weights = read_weights(source)
    _check_landmarks(source, weights)
    ours = FORMATS[weights.format].to_ours(weights.state)
    if activation == "auto":
        activation = weights.activation or _assume_quickgelu(source)
    vision, text = read_shapes(ours, weights.heads)
    vision = set_stride(source, vision, stride, last_stride)
    if image_size is not None:
        sides = (image_size, image_size) if isinstance(image_size, int) else image_size
        vision = replace(vision, image_size=sides)
    text = replace(text, context_length=context_length, dropout=dropout)
    embed_dim = (
        len(ours["visual.attnpool.c_proj.weight"])
        if is_resnet(ours)
        else ours["visual.proj"].shape[1]
    )
    with torch.device("meta"):  # shapes alone: every value comes from the source
        clip = CLIP(vision, text, embed_dim, activation, gradient_checkpointing)
    _check_fit(source, weights, clip)

    vision_positions, text_positions = position_names(ours)
    ours[vision_positions] = resize_position_embedding(ours[vision_positions], vision.grid)
    ours[text_positions] = resize_text_positions(ours[text_positions], context_length)
    clip = clip.to_empty(device="cpu")
    clip.load_state_dict(ours)  # copies, into float32
    return clip


def _assume_quickgelu(source: str | Path) -> Activation:
    logger.info(
        "%s does not tell its activation: QuickGELU, as OpenAI's weights (model.activation)", source
    )
    return "quickgelu"


def set_stride(
    source: str | Path, vision: VisionShape | ResNetShape, stride: int | None, last_stride: int
) -> VisionShape | ResNetShape:
    """The shape of a source's image tower with the strides of `load_clip`.

    Raises:
        InputError: a stride was given that the tower does not have.
    """
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


def read_shapes(
    state: State, heads: tuple[int, int] | None
) -> tuple[VisionShape | ResNetShape, TextShape]:
    """The architecture of tensors in our names; heads are 64 wide, as OpenAI's, if not told."""
    vision_heads, text_heads = heads or (None, None)
    return read_vision_shape(state, vision_heads), read_text_shape(state, text_heads)


def read_vision_shape(state: State, heads: int | None) -> VisionShape | ResNetShape:
    """The image tower of tensors `visual.*`, for a square at CLIP's own strides."""
    side = math.isqrt(len(state[position_names(state)[0]]) - 1)
    if is_resnet(state):
        width = len(state["visual.conv3.weight"])
        one, two, three, four = (_count_blocks(state, f"visual.layer{i}.") for i in (1, 2, 3, 4))
        sides = (side * 32, side * 32)
        return ResNetShape(width, (one, two, three, four), heads or _usual_heads(32 * width), sides)
    width, _, _, patch = state["visual.conv1.weight"].shape
    layers = _count_blocks(state, "visual.transformer.blocks.")
    sides = (side * patch, side * patch)
    return VisionShape(width, layers, heads or _usual_heads(width), patch, patch, sides)


def read_text_shape(state: State, heads: int | None) -> TextShape:
    """The text tower of tensors `text.*`."""
    vocab_size, width = state["text.token_embedding.weight"].shape
    context_length = len(state["text.positional_embedding"])
    layers = _count_blocks(state, "text.transformer.blocks.")
    return TextShape(width, layers, heads or _usual_heads(width), context_length, vocab_size)


def _usual_heads(width: int) -> int:
    return max(1, width // 64)


def _count_blocks(state: State, prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def is_resnet(state: Collection[str]) -> bool:
    """Whether these names of ours, or of OpenAI, are of CLIP with a ResNet image tower."""
    return any(name.startswith("visual.layer1.") for name in state)


def position_names(state: Collection[str]) -> tuple[str, str]:
    """What the position embeddings of image and text are called among these names of ours."""
    return RESNET_POSITIONS if is_resnet(state) else POSITIONS


def _check_landmarks(source: str | Path, weights: Weights) -> None:
    names, state = FORMATS[weights.format].names, weights.state
    needed = RESNET_LANDMARKS if is_resnet(state) else LANDMARKS
    landmarks = {rename(name, names): dimensions for name, dimensions in needed.items()}
    missing = landmarks.keys() - state.keys()
    known = ("visual.", "logit_scale", *(theirs for _, theirs in names))
    strange = [name for name in state if not name.startswith(known)] if missing else []
    wrong = [
        f"{name} {tuple(state[name].shape)} instead of {dimensions} dimensions"
        for name, dimensions in landmarks.items()
        if name in state and state[name].ndim != dimensions
    ]
    refuse_misfits(source, missing, strange, wrong)


def _check_fit(source: str | Path, weights: Weights, clip: CLIP) -> None:
    """The source's tensors against `clip` as the source would name it; positions may differ."""
    names, _, from_ours = FORMATS[weights.format]
    ours = clip.state_dict()
    expected, state = from_ours(ours), weights.state
    for name in (rename(name, names) for name in position_names(ours)):
        expected[name] = expected[name][:1].expand(len(state[name]), -1)
    check_fit(source, state, expected)


def check_fit(
    source: str | Path,
    state: State,
    expected: State,
    model: str = "CLIP with a ViT or a ResNet",
) -> None:
    """The source's tensors against those that `model` would have under the same names."""
    wrong = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected.keys() & state.keys()
        if state[name].shape != expected[name].shape
    ]
    missing, unexpected = expected.keys() - state.keys(), state.keys() - expected.keys()
    refuse_misfits(source, missing, unexpected, wrong, model)


def refuse_misfits(
    source: str | Path,
    missing: Collection[str],
    unexpected: Collection[str],
    wrong: Collection[str],
    model: str = "CLIP with a ViT or a ResNet",
) -> None:
    """Raise an InputError that says which tensors of a source do not fit, if any do not."""
    found = {"missing": missing, "unexpected": unexpected, "wrong shape": wrong}
    told = "; ".join(f"{kind} {shorten(names)}" for kind, names in found.items() if names)
    if told:
        raise InputError(f"{source} does not fit {model} ({told}): give weights that do")
