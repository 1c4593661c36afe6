"""What goes into a model and what comes out: a batch, and the outputs that the losses read."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B captions with their pictures, each picture in V views of the training augmentation."""

    images: Tensor  # (V, B, 3, rows, columns)
    tokens: Tensor  # (B, L), int64
    ids: Tensor  # (B,), int64, identities numbered from 0

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> Self:
        """The batch on `device`; from pinned memory the copy runs beside the computation."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """The batch in pinned memory; called by the loader."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(*(change(getattr(self, field.name)) for field in fields(self)))


@dataclass(frozen=True)
class Outputs:
    """Features and logits of one batch, un-normalised, still in the graph. No losses."""

    image_features: Tensor  # (V, B, D)
    text_features: Tensor  # (B, D)
    logit_scale: Tensor  # (), the log
