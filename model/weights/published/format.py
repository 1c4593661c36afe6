"""The format of a public project's checkpoints."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from errors import InputError
from model.architecture import Architecture
from model.backbones import TaskName
from model.vit import VisionShape
from model.weights.sources import State


class Geometry(NamedTuple):
    """Sizes that the weights of a published checkpoint do not tell.

    Args:
        image_size: (rows, columns) in pixels; None: a square.
        stride: of a ViT, pixels from patch to patch; None: the patch size.
        heads: of the image and the text tower; None: 64 channels a head, as in all of CLIP's.
    """

    image_size: tuple[int, int] | None = None
    stride: int | None = None
    heads: tuple[int, int] | None = None


class PublishedWeights(NamedTuple):
    """The weights of a published checkpoint in our names, in the file's precision, on the CPU."""

    state: State
    architecture: Architecture


@dataclass(frozen=True)
class PublishedFormat:
    """One project's checkpoints.

    Args:
        project: its name.
        recognises: whether the names of a file's tensors are this project's.
        read: the weights of a file's tensors; an InputError names those that do not fit.
        geometries: image sizes and strides that the project publishes weights of.
        cleans_captions: whether its code cleans captions before it tokenises them.
    """

    project: str
    task: TaskName
    recognises: Callable[[Collection[str]], bool]
    read: Callable[[Path, State, Geometry], PublishedWeights]
    geometries: tuple[Geometry, ...] = (Geometry(),)
    cleans_captions: bool = True


def fit_image_size(
    file: Path, vision: VisionShape, num_patches: int, geometry: Geometry
) -> VisionShape:
    """The image tower's shape for an image size, which must have as many patches as the weights.

    Raises:
        InputError: the numbers differ, or the weights are of a rectangle whose sides are not given.
    """
    side, image_size = math.isqrt(num_patches), geometry.image_size
    stride = geometry.stride or vision.patch_size
    if image_size is None:
        if side**2 != num_patches:
            raise InputError(
                f"{file} was trained on a rectangle of {num_patches} patches, which does not tell "
                "its sides: set data.image_size to that of its training"
            )
        pixels = (side - 1) * stride + vision.patch_size
        image_size = (pixels, pixels)
    vision = replace(vision, image_size=image_size, stride=stride)
    rows, columns = vision.grid
    if rows * columns != num_patches:
        raise InputError(
            f"{file} was trained on {num_patches} patches, but an image of {image_size[0]} x "
            f"{image_size[1]} pixels at stride {stride} has {rows} x {columns}: set "
            "data.image_size and model.stride to those of its training"
        )
    return vision
