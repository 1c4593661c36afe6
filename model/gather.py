"""The seam at which the rows of all processes come together."""

from typing import Protocol

import torch
from torch import Tensor


class Gather(Protocol):
    """How the rows of all processes come together: the one place where a loss meets the others."""

    rank: int

    def __call__(self, rows: Tensor) -> Tensor:
        """(B, ...) of this process -> (processes x B, ...) of all, in the order of the ranks."""
        ...


class Alone:
    """The gather of a single process."""

    rank = 0

    def __call__(self, rows: Tensor) -> Tensor:
        return rows


def gather_together(gather: Gather, rows: list[Tensor]) -> list[Tensor]:
    """Tensors (B, D) of all processes in one collective, side by side."""
    return list(gather(torch.cat(rows, dim=1)).split([r.shape[1] for r in rows], dim=1))
