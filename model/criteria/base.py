"""Losses by name, and their weighted sum."""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor

from errors import InputError
from model.gather import Gather
from model.interface import BatchT, OutputsT, Tensors

InputsT = TypeVar("InputsT")
Losses = dict[str, Tensor]  # scalars, by name
LossT = TypeVar("LossT", bound=Callable[..., Tensor])


class LossRegistry(dict[str, Callable[[InputsT], Tensor]]):
    """Losses by name: functions of the same inputs that return a scalar."""

    def register(self, name: str) -> Callable[[LossT], LossT]:
        """A decorator that adds a loss; its name is what weights and log lines call it."""
        assert name not in self, f"the loss {name} is registered twice"

        def add(loss: LossT) -> LossT:
            self[name] = loss
            return loss

        return add

    def require(self, names: Collection[str], key: str) -> None:
        """Check that losses are registered.

        Args:
            key: of the configuration that names them.

        Raises:
            InputError: one is not; the message names the nearest one that is.
        """
        for name in names:
            if name not in self:
                near = difflib.get_close_matches(name, self, n=1, cutoff=0.0)[0]
                known = ", ".join(self)
                raise InputError(
                    f"{key}: no loss {name!r} is registered; did you mean {near}? ({known})"
                )


class Criterion(ABC, Generic[OutputsT, BatchT]):
    """The losses that are switched on, by name, and their weighted sum. It has no parameters.

    Args:
        weights: the weight of each loss in the total; other losses are not computed.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = dict(weights)

    @abstractmethod
    def __call__(
        self,
        outputs: OutputsT,
        batch: BatchT,
        gather: Gather | None = None,
        progress: float | Tensor = 1.0,
    ) -> dict[str, Tensor]:
        """The losses of one batch, un-weighted, by name.

        Args:
            gather: of the rows of all processes; None for a single process.
            progress: epochs since the stage began; a scalar tensor where steps are recorded.
        """

    def total(self, losses: Mapping[str, Tensor], outputs: Tensors) -> Tensor:
        """The sum of the losses, each times its weight.

        Every output enters it times zero, so that even an output that no loss reads has a gradient,
        and all processes reduce the same gradients.
        """
        weighted = [self.weights[name] * loss for name, loss in losses.items()]
        zeros = [0.0 * t.flatten()[:1].float().sum() for t in outputs.present().values()]
        return torch.stack(weighted + zeros).sum()
