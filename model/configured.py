"""Shapes of towers that a library builds from a configuration of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model.clip import TextShape
from model.vit import VisionShape


@dataclass(frozen=True)
class ConfiguredShape(VisionShape):
    """An image tower of open_clip, of which width and image size are told; the other sizes are
    placeholders, and in `config`.

    Args:
        width: of its tokens or its last feature map.
        config: open_clip's `model_cfg`, of both towers.
    """

    layers: int = 0
    heads: int = 1
    patch_size: int = 1
    stride: int = 1
    image_size: tuple[int, int] = (224, 224)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def grid(self) -> tuple[int, int]:
        return 1, 1


@dataclass(frozen=True)
class ConfiguredTextShape(TextShape):
    """A text tower of open_clip; of one from transformers, `layers` and `heads` are placeholders.

    Args:
        body: the config.json of a text tower of transformers.
        trims: whether padding can be cut off, since no token attends to it.
    """

    body: Mapping[str, Any] | None = None
    trims: bool = True
