"""Losses of both tasks, by name."""

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor

from model.criteria.base import Criterion
from model.criteria.reid import ReIDCriterion
from model.criteria.text import TextCriterion
from model.gather import Gather
from model.interface import JointBatch, JointOutputs

T = TypeVar("T")


class JointCriterion(Criterion[JointOutputs, JointBatch]):
    """The losses of the pairs, `text.NAME`, and those of the pictures, `reid.NAME`."""

    def __init__(self, text: TextCriterion, reid: ReIDCriterion) -> None:
        super().__init__(_joined(text.weights, reid.weights))
        self.text, self.reid = text, reid

    def __call__(
        self,
        outputs: JointOutputs,
        batch: JointBatch,
        gather: Gather | None = None,
        progress: float | Tensor = 1.0,
    ) -> dict[str, Tensor]:
        """The losses of one batch, un-weighted, by name."""
        return _joined(
            self.text(outputs.pairs, batch.pairs, gather, progress),
            self.reid(outputs.pictures, batch.pictures, gather, progress),
        )


def _joined(text: Mapping[str, T], reid: Mapping[str, T]) -> dict[str, T]:
    return {f"text.{k}": v for k, v in text.items()} | {f"reid.{k}": v for k, v in reid.items()}
