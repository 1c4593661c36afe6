"""Losses by name, and their weighted sum."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from model.gather import Gather
from model.interface import Tensors


class Criterion(ABC):
    """The losses that are switched on, by name, and their weighted sum. It has no parameters.

    Args:
        weights: the weight of each loss in the total; a loss that is not named is not computed.
        known: the losses that there are.
    """

    def __init__(self, weights: Mapping[str, float], known: Collection[str]) -> None:
        unknown = set(weights) - set(known)
        assert not unknown, f"no such loss: {sorted(unknown)}"
        self.weights = dict(weights)

    @abstractmethod
    def __call__(
        self, outputs: Any, batch: Any, gather: Gather | None = None, progress: float = 1.0
    ) -> dict[str, Tensor]:
        """The losses of one batch, un-weighted, by name.

        Args:
            progress: epochs since the stage began.
        """

    def total(self, losses: Mapping[str, Tensor], outputs: Tensors) -> Tensor:
        """The sum of the losses, each with its weight.

        Every output joins it as a zero, so that also what no loss reads has a gradient, and the
        processes agree on what there is to reduce.
        """
        weighted = [self.weights[name] * loss for name, loss in losses.items()]
        zeros = [0.0 * t.flatten()[:1].float().sum() for t in outputs.present().values()]
        return torch.stack(weighted + zeros).sum()
