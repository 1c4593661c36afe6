"""Trained checkpoints of CLIP-ReID's public code: their names to ours and back.

Nothing in such a file is run: only tensors and plain types are unpickled.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from errors import InputError
from model.clip_reid import from_architecture
from model.identity_prompts import FIRST, WORDS
from model.resnet import ResNetShape
from model.vit import VisionShape
from model.weights import (
    LANDMARKS,
    RESNET_LANDMARKS,
    Names,
    check_fit,
    join_in_proj,
    position_names,
    read_text_shape,
    read_vision_shape,
    refuse_misfits,
    rename,
    rename_all,
    reverse,
    split_in_proj,
)
from model.weights.published import fit_image_size, load_safely, select_tensors
from model.weights.sources import State

CLIP_REID: Names = (
    ("visual.transformer.blocks.", "image_encoder.transformer.resblocks."),
    ("visual.", "image_encoder."),
    ("prompts.words", "prompt_learner.cls_ctx"),
    ("prompts.text.transformer.blocks.", "text_encoder.transformer.resblocks."),
    ("prompts.text.projection", "text_encoder.text_projection"),
    ("prompts.text.", "text_encoder."),
    ("image_head.neck.", "bottleneck."),
    ("image_head.classifier.", "classifier."),
    ("projected_head.neck.", "bottleneck_proj."),
    ("projected_head.classifier.", "classifier_proj."),
    ("side_information.embedding", "cv_embed"),
)
# The sentence (L, width) is one tensor here; there its two parts (1, ..., width) around the words.
SENTENCE = "prompts.text.token_embedding.weight"
PREFIX, SUFFIX = "prompt_learner.token_prefix", "prompt_learner.token_suffix"
CLASSIFIER = "image_head.classifier.weight"  # (identities, width)
SIDE_INFORMATION = "side_information.embedding"  # (cameras x views, width)
MODEL = "CLIP-ReID with a ViT or a ResNet"


def from_clip_reid(state: Mapping[str, Tensor]) -> State:
    """CLIP-ReID's names to those of our model."""
    rest = {name: value for name, value in state.items() if name not in (PREFIX, SUFFIX)}
    ours = split_in_proj(rename_all(rest, reverse(CLIP_REID)))
    if PREFIX in state and SUFFIX in state:
        prefix, suffix = state[PREFIX][0], state[SUFFIX][0]
        words = prefix.new_zeros(WORDS, prefix.shape[1])
        ours[SENTENCE] = torch.cat([prefix, words, suffix])
    return ours


def to_clip_reid(state: Mapping[str, Tensor]) -> State:
    """The names of our model to CLIP-ReID's, the inverse of `from_clip_reid`."""
    rest = {name: value for name, value in state.items() if name != SENTENCE}
    theirs = rename_all(join_in_proj(rest), CLIP_REID)
    if SENTENCE in state:
        theirs[PREFIX] = state[SENTENCE][None, :FIRST]
        theirs[SUFFIX] = state[SENTENCE][None, FIRST + WORDS :]
    return theirs


@dataclass(frozen=True)
class ReIDCheckpoint:
    """A checkpoint of CLIP-ReID: the weights in the names of `CLIPReID`, in the file's precision,
    and its architecture, as `from_architecture` takes it.
    """

    state: State
    architecture: dict[str, Any]


def is_published_reid(file: Path) -> bool:
    """Whether a file is a checkpoint of CLIP-ReID, as far as its names tell."""
    try:
        return _is_clip_reid(_load(file))
    except InputError:
        return False


def read_published_reid(
    file: Path,
    image_size: tuple[int, int] | None = None,
    stride: int | None = None,
    heads: tuple[int, int] | None = None,
    cameras: int | None = None,
    views: int = 1,
) -> ReIDCheckpoint:
    """The weights of a checkpoint of CLIP-ReID or of its baselines, and what they were made for.

    Args:
        image_size: (rows, columns) in pixels, which the weights of a rectangle do not tell; None:
            a square.
        stride: of a ViT, pixels from patch to patch; None: the patch size.
        heads: of the image and the text tower; None: 64 channels a head, as in all of CLIP's.
        cameras, views: that take the pictures to come, and sides that they show. If the side
            information of the weights is for so many cameras, it is fitted to these views: of the
            published eight of VeRi-776 a camera's mean stands for a view that nobody told, and for
            all if there are none. Otherwise it is taken for that of as many cameras as it has rows.

    Raises:
        InputError: there is no such file, it cannot be read without running something, it is of
            another project, or its tensors are not those of such a model.
    """
    state = _load(file)
    if not _is_clip_reid(state):
        raise InputError(
            f"{file} is no checkpoint of CLIP-ReID (image_encoder.*, bottleneck.*): give one"
        )
    _check_landmarks(file, state)
    ours = from_clip_reid(state)
    vision_heads, text_heads = heads or (None, None)
    vision = _fit_vision(file, ours, image_size, stride, vision_heads)
    ours, cameras, views = _fit_side_information(ours, cameras, views)
    text = {k.removeprefix("prompts."): v for k, v in ours.items() if k.startswith("prompts.text.")}
    architecture = {
        "backbone": "clip",
        "vision": asdict(vision),
        "text": asdict(read_text_shape(text, text_heads)) if text else None,
        "embed_dim": len(ours["projected_head.neck.weight"]),
        "activation": "quickgelu",  # that of OpenAI's weights
        "identities": len(ours[CLASSIFIER]),
        "cameras": cameras,
        "views": views,
    }
    with torch.device("meta"):  # shapes alone
        expected = from_architecture(architecture).state_dict()
    check_fit(file, to_clip_reid(ours), to_clip_reid(expected), MODEL)
    return ReIDCheckpoint(ours, architecture)


def _load(file: Path) -> State:
    content = load_safely(file, "CLIP-ReID")
    return select_tensors(content) if isinstance(content, Mapping) else {}


def _is_clip_reid(state: State) -> bool:
    return {"image_encoder.conv1.weight", "bottleneck.weight"} <= state.keys()


def _check_landmarks(file: Path, state: State) -> None:
    """The tensors that the architecture is read from must be there to read it."""
    resnet = any(name.startswith("image_encoder.layer1.") for name in state)
    towers = RESNET_LANDMARKS if resnet else LANDMARKS
    needed = {name: dims for name, dims in towers.items() if name.startswith("visual.")}
    needed |= {CLASSIFIER: 2, "projected_head.neck.weight": 1}
    if any(name.startswith(("prompt_learner.", "text_encoder.")) for name in state):
        needed |= {"prompts.text.positional_embedding": 2, PREFIX: 3, SUFFIX: 3}
    landmarks = {rename(name, CLIP_REID): dims for name, dims in needed.items()}
    wrong = [
        f"{name} {tuple(state[name].shape)} instead of {dims} dimensions"
        for name, dims in {**landmarks, "cv_embed": 2}.items()
        if name in state and state[name].ndim != dims
    ]
    refuse_misfits(file, landmarks.keys() - state.keys(), (), wrong, MODEL)


def _fit_vision(
    file: Path,
    ours: State,
    image_size: tuple[int, int] | None,
    stride: int | None,
    heads: int | None,
) -> VisionShape | ResNetShape:
    """The image tower's shape for an image size, which must have as many places as the weights."""
    vision = read_vision_shape(ours, heads)
    places = len(ours[position_names(ours)[0]]) - 1
    if isinstance(vision, VisionShape):
        return fit_image_size(file, vision, places, image_size, stride)
    side = 16 * math.isqrt(places)
    vision = replace(vision, last_stride=1, image_size=image_size or (side, side))
    if stride is not None or math.prod(vision.grid) != places:
        raise InputError(
            f"{file} is of a ResNet whose last map has {places} cells of 16 x 16 pixels: set "
            "data.image_size to that of its training, and leave model.stride null"
        )
    return vision


def _fit_side_information(ours: State, cameras: int | None, views: int) -> tuple[State, int, int]:
    """The weights, and how many cameras and views they tell apart: 0 and 1 if none."""
    if SIDE_INFORMATION not in ours:
        return ours, 0, 1
    rows = ours[SIDE_INFORMATION]
    if cameras is None or len(rows) % cameras or len(rows) == cameras:
        return ours, len(rows), 1
    by_camera = rows.unflatten(0, (cameras, -1))
    held, mean = by_camera.shape[1], by_camera.mean(dim=1, keepdim=True)
    if views == held + 1:
        by_camera = torch.cat([by_camera, mean], dim=1)
    elif views == 1:
        by_camera = mean
    elif views != held:
        return ours, len(rows), 1
    return {**ours, SIDE_INFORMATION: by_camera.flatten(0, 1)}, cameras, views
