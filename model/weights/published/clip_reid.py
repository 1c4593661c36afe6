"""Checkpoints of CLIP-ReID's code (Li et al., AAAI 2023, arXiv 2211.13977), its baselines' too."""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from errors import InputError
from model.architecture import ImageShape, ReIDArchitecture
from model.clip_reid import from_architecture
from model.identity_prompts import FIRST, WORDS
from model.resnet import ResNetShape
from model.vit import VisionShape
from model.weights.key_maps import (
    Names,
    join_in_proj,
    rename,
    rename_all,
    reverse,
    split_in_proj,
)
from model.weights.misfits import check_fit, refuse_misfits
from model.weights.published.format import (
    Geometry,
    PublishedFormat,
    PublishedWeights,
    fit_image_size,
)
from model.weights.shapes import (
    LANDMARKS,
    RESNET_LANDMARKS,
    check_sizes,
    position_names,
    read_text_shape,
    read_vision_shape,
)
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


def _read(file: Path, state: State, geometry: Geometry) -> PublishedWeights:
    _check_landmarks(file, state)
    ours = from_clip_reid(state)
    vision_heads, text_heads = geometry.heads or (None, None)
    vision = _fit_vision(file, ours, geometry, vision_heads)
    if isinstance(vision, ResNetShape):  # its code makes the side information, and ignores it
        ours.pop(SIDE_INFORMATION, None)
    text = {k.removeprefix("prompts."): v for k, v in ours.items() if k.startswith("prompts.text.")}
    architecture = ReIDArchitecture(
        backbone="clip",
        vision=vision,
        text=read_text_shape(text, text_heads) if text else None,
        embed_dim=len(ours["projected_head.neck.weight"]),
        activation="quickgelu",  # that of OpenAI's weights
        num_identities=len(ours[CLASSIFIER]),
        num_cameras=len(ours[SIDE_INFORMATION]) if SIDE_INFORMATION in ours else 0,
    )
    towers = architecture.vision, architecture.text, architecture.embed_dim
    check_sizes(file, *towers, num_values=sum(map(Tensor.numel, ours.values())))
    with torch.device("meta"):  # shapes alone
        expected = from_architecture(architecture).state_dict()
    check_fit(file, to_clip_reid(ours), to_clip_reid(expected), MODEL)
    return PublishedWeights(ours, architecture)


def fit_side_information(
    weights: PublishedWeights, num_cameras: int, num_views: int
) -> PublishedWeights:
    """The weights for these cameras and views, if their side information is for so many cameras.

    The file has a row for each camera, or for each view under each camera, and does not say which.
    Of the published eight views of VeRi-776, a camera's mean stands for an unlabelled view, and for
    all views if there are no labels. A number of rows that fits neither is taken for that of
    cameras.

    Args:
        num_cameras, num_views: of the pictures to come.
    """
    state, architecture = weights
    assert isinstance(architecture, ReIDArchitecture)
    num_rows = architecture.num_cameras
    if not num_rows or num_rows % num_cameras or num_rows == num_cameras:
        return weights
    by_camera = state[SIDE_INFORMATION].unflatten(0, (num_cameras, -1))
    held, mean = by_camera.shape[1], by_camera.mean(dim=1, keepdim=True)
    if num_views == held + 1:
        by_camera = torch.cat([by_camera, mean], dim=1)
    elif num_views == 1:
        by_camera = mean
    elif num_views != held:
        return weights
    return PublishedWeights(
        {**state, SIDE_INFORMATION: by_camera.flatten(0, 1)},
        replace(architecture, num_cameras=num_cameras, num_views=num_views),
    )


def _check_landmarks(file: Path, state: State) -> None:
    """Check the tensors that the architecture is read from."""
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
        if name in state and not (state[name].ndim == dims and state[name].numel())
    ]
    refuse_misfits(file, landmarks.keys() - state.keys(), (), wrong, MODEL)


def _fit_vision(file: Path, ours: State, geometry: Geometry, heads: int | None) -> ImageShape:
    """The image tower's shape for an image size with as many cells as the weights."""
    vision = read_vision_shape(ours, heads)
    num_cells = len(ours[position_names(ours)[0]]) - 1
    if isinstance(vision, VisionShape):
        return fit_image_size(file, vision, num_cells, geometry)
    side = 16 * math.isqrt(num_cells)
    vision = replace(vision, last_stride=1, image_size=geometry.image_size or (side, side))
    if geometry.stride is not None or math.prod(vision.grid) != num_cells:
        raise InputError(
            f"{file} is of a ResNet whose last map has {num_cells} cells of 16 x 16 pixels: set "
            "data.image_size to that of its training, and leave model.stride null"
        )
    return vision


FORMAT = PublishedFormat(
    "CLIP-ReID",
    "image_to_image",
    recognises={"image_encoder.conv1.weight", "bottleneck.weight"}.issubset,
    read=_read,
    geometries=tuple(
        Geometry(size, stride) for size, stride in product(((256, 128), (256, 256)), (None, 12))
    ),
)
