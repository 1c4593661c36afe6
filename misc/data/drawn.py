"""Batches whose images are made on the device that trains: pictures, and what is drawn of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from misc.data.mixgen import mix_images
from misc.data.rendering import ViewRows, finish_views, sample_pictures
from model.interface import TextBatch

AT_ONCE = 2  # images on a CPU, whose caches hold no more


class ImageMixing(NamedTuple):
    """MixGen of some rows of a batch, as `mix_images` does it."""

    rows: slice
    kind: str
    ratio: float


@dataclass(frozen=True)
class DrawnBatch:
    """A batch before its images are made.

    Args:
        pictures: (B, 3, rows, columns), uint8, resized.
        batch: has rows of `ViewRows` in place of images, (V, B, 33) and (2, B, 33).
        statistics: (2, 3), mean and standard deviation of the channels.
        mixed: where the first view is mixed.
    """

    pictures: Tensor
    batch: TextBatch
    statistics: Tensor
    mixed: Sequence[ImageMixing] = ()

    def __len__(self) -> int:
        return len(self.batch)

    def pin_memory(self) -> "DrawnBatch":
        """The batch in pinned memory; called by the data loader."""
        pictures, statistics = self.pictures.pin_memory(), self.statistics.pin_memory()
        return replace(
            self, pictures=pictures, statistics=statistics, batch=self.batch.pin_memory()
        )

    def to(self, device: torch.device, non_blocking: bool = True) -> TextBatch:
        """The batch on a device, with its images."""
        pictures = self.pictures.to(device, non_blocking=non_blocking)
        statistics = self.statistics.to(device, non_blocking=non_blocking)
        images = _make(pictures, self.batch.images, statistics)
        for rows, kind, ratio in self.mixed:
            images[0, rows] = mix_images(images[0, rows], kind, ratio)
        simclr = self.batch.simclr_images
        if simclr is not None:
            simclr = _make(pictures, simclr, statistics)
        made = replace(self.batch, images=images, simclr_images=simclr)
        return made.to(device, non_blocking)


def _make(pictures: Tensor, views: Tensor, statistics: Tensor) -> Tensor:
    """Views (V, B, 33) of pictures: (V, B, 3, rows, columns), float32."""
    at_once = AT_ONCE if pictures.device.type == "cpu" else len(pictures)
    images = torch.empty(len(views), *pictures.shape, device=pictures.device)
    for view, all_made in zip(views, images, strict=True):
        parts = (each.split(at_once) for each in (pictures, view, all_made))
        for some, rows, made in zip(*parts, strict=True):
            drawn = ViewRows(rows)
            made.copy_(finish_views(sample_pictures(some, drawn), drawn, *statistics))
    return images
