"""CLIP's weights: the model that a source makes, its position embeddings resized to fit."""

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from errors import InputError
from model.clip import CLIP
from model.transformer import Activation
from model.weights.key_maps import FORMATS, rename
from model.weights.misfits import check_fit, refuse_misfits
from model.weights.shapes import (
    LANDMARKS,
    RESNET_LANDMARKS,
    check_sizes,
    is_resnet,
    position_names,
    read_shapes,
    set_stride,
)
from model.weights.sources import Weights, read_weights

logger = logging.getLogger(__name__)


def resize_position_embedding(
    embedding: Tensor,
    grid: tuple[int, int],
    mode: Literal["bilinear", "bicubic"] = "bilinear",
    *,
    own_grid: tuple[int, int] | None = None,
    num_class_rows: int = 1,
    antialias: bool = False,
) -> Tensor:
    """Interpolate an image tower's position embedding to another grid; the class row stays.

    Args:
        embedding: (1+N, D), N the patches of a picture, row by row.
        grid: rows and columns of patches wanted.
        mode: "bilinear" as TBPS-CLIP and IRRA, "bicubic" as transformers; corners not aligned.
        own_grid: rows and columns of the N patches; a square's, if it is one, unless given. Of a
            rectangle whose sides are not given, N may only be `rows * columns` already.
        num_class_rows: rows before the patches'.
        antialias: as `F.interpolate` has it.

    Returns:
        (1 + rows * columns, D), float32 if interpolated.

    Raises:
        InputError: N tells no sides, and is not what is wanted.
    """
    patches = len(embedding) - num_class_rows
    side = math.isqrt(patches)
    if own_grid is None:
        own_grid = (side, side) if side**2 == patches else grid
    if math.prod(own_grid) != patches:
        raise InputError(
            f"a position embedding of {patches} patches is neither square nor {grid[0]} x "
            f"{grid[1]}: set the image size and the stride that the weights were made for"
        )
    if own_grid == grid:
        return embedding
    first, rest = embedding.float().tensor_split([num_class_rows])
    picture = rest.t().reshape(1, -1, *own_grid)  # (1, D, rows, columns)
    resized = F.interpolate(picture, grid, mode=mode, align_corners=False, antialias=antialias)
    return torch.cat([first, resized[0].flatten(1).t()])


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
    context_length: int | None = 77,
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
        context_length: tokens of the longest caption; None: that of the weights.
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
    vision = replace(vision, image_size=weights.image_size or vision.image_size)
    own_grid = vision.grid if weights.image_size else None
    vision = set_stride(source, vision, stride, last_stride)
    if image_size is not None:
        sides = (image_size, image_size) if isinstance(image_size, int) else image_size
        vision = replace(vision, image_size=sides)
    text = replace(text, context_length=context_length or text.context_length, dropout=dropout)
    embed_dim = (
        len(ours["visual.attnpool.c_proj.weight"])
        if is_resnet(ours)
        else ours["visual.proj"].shape[1]
    )
    check_sizes(source, vision, text, embed_dim, sum(map(Tensor.numel, ours.values())))
    with torch.device("meta"):  # shapes alone: every value comes from the source
        clip = CLIP(vision, text, embed_dim, activation, gradient_checkpointing)
    _check_fit(source, weights, clip)

    image, words = position_names(ours)
    ours[image] = resize_position_embedding(ours[image], vision.grid, own_grid=own_grid)
    ours[words] = resize_text_positions(ours[words], text.context_length)
    clip = clip.to_empty(device="cpu")
    clip.load_state_dict(ours)  # copies, into float32
    return clip


def _assume_quickgelu(source: str | Path) -> Activation:
    logger.info(
        "%s does not tell its activation: QuickGELU, as OpenAI's weights (model.activation)", source
    )
    return "quickgelu"


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
        if name in state and not (state[name].ndim == dimensions and state[name].numel())
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
