"""Gathering of the rows of all processes."""

from typing import Protocol

import torch
from torch import Tensor


class Gather(Protocol):
    """Gathers rows over the processes; the only way a loss sees features of the others."""

    rank: int

    def __call__(self, rows: Tensor) -> Tensor:
        """(B, ...) of this process -> (world_size * B, ...) of all, in rank order."""
        ...


class Alone:
    """The gather of a single process."""

    rank = 0

    def __call__(self, rows: Tensor) -> Tensor:
        return rows


def gather_together(gather: Gather, rows: list[Tensor]) -> list[Tensor]:
    """Gather several tensors (B, D), whose D may differ, in a single collective."""
    return list(gather(torch.cat(rows, dim=1)).split([r.shape[1] for r in rows], dim=1))
