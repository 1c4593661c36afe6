"""Features of pictures with a model of both tasks, and its evaluation of re-identification."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from misc.retrieval.base import Encoded, Ranked, Rerank, Retrieval
from misc.retrieval.features import Features
from misc.retrieval.image import ImageRetrieval
from misc.retrieval.parts import Parts
from misc.retrieval.ranked_lists import RankedList
from misc.retrieval.similarities import Similarities
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from model.joint_clip import JointCLIP


def gallery_features(model: JointCLIP, images: Tensor, *, flip: bool) -> Tensor:
    """Features of pictures to compare with sentences and with other pictures, side by side.

    Args:
        images: (B, 3, rows, columns).
        flip: average the features for other pictures with those of the mirror image.

    Returns:
        (B, W) of `Parts`.
    """
    words, pictures = model.encode_gallery(images)
    if flip:
        pictures = (pictures + model.reid.encode_image(images.flip(-1))) / 2
    return torch.cat([F.normalize(each.float(), dim=-1) for each in (words, pictures)], dim=1)


def gallery_parts(model: JointCLIP) -> Parts:
    """The parts of the result of `gallery_features`."""
    selector = model.image_selector
    words = model.clip.embed_dim + (0 if selector is None else selector.shape.embed_dim)
    return Parts(words + model.reid.width, words, model.reid.spread)


class PictureRetrieval(Retrieval[JointCLIP]):
    """`ImageRetrieval` with the part of the model that compares pictures with one another."""

    query_kind = ""  # none: the similarities that are drawn are cosines, and a calibration's not

    def __init__(self, images: ImageRetrieval) -> None:
        self.images = images

    def encode(self, model: JointCLIP, processes: Processes, precision: Precision) -> Encoded:
        return self.images.encode(model.reid, processes, precision)

    def rank(self, encoded: Encoded, processes: Processes, rerank: Rerank | None = None) -> Ranked:
        return self.images.rank(encoded, processes, rerank)

    def features(self, encoded: Encoded, model: JointCLIP) -> Features:
        return self.images.features(encoded, model.reid)

    def similarities(self, encoded: Encoded, device: torch.device) -> Similarities:
        return self.images.similarities(encoded, device)

    @property
    def queries(self) -> tuple[Sequence[Path | str], Tensor]:
        return self.images.queries

    def lists_of(
        self, encoded: Encoded, rows: Sequence[int], device: torch.device
    ) -> list[RankedList]:
        return self.images.lists_of(encoded, rows, device)
