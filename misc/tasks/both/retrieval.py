"""The evaluation of re-identification with a model of both tasks."""

import torch

from misc.evaluation import Ranking
from misc.retrieval.base import Encoded, Ranked, Rerank, Retrieval
from misc.retrieval.features import Features
from misc.retrieval.image import ImageRetrieval
from misc.retrieval.ranked_lists import RankedList
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from model.joint_clip import JointCLIP


class PictureRetrieval(Retrieval[JointCLIP]):
    """`ImageRetrieval` with the part of the model that compares pictures with one another."""

    def __init__(self, images: ImageRetrieval) -> None:
        self.images = images

    def encode(self, model: JointCLIP, processes: Processes, precision: Precision) -> Encoded:
        return self.images.encode(model.reid, processes, precision)

    def rank(self, encoded: Encoded, processes: Processes, rerank: Rerank | None = None) -> Ranked:
        return self.images.rank(encoded, processes, rerank)

    def features(self, encoded: Encoded, model: JointCLIP) -> Features:
        return self.images.features(encoded, model.reid)

    def ranked_lists(
        self, encoded: Encoded, ranking: Ranking, device: torch.device, *, count: int, seed: int
    ) -> dict[str, list[RankedList]]:
        return self.images.ranked_lists(encoded, ranking, device, count=count, seed=seed)
