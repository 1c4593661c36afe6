"""From the names of losses and their weights to the losses of one batch."""

from collections.abc import Mapping
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from model.interface import Batch, Outputs
from model.objectives import Pairs, itc, n_itc, r_itc


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


class Criterion:
    """The losses that are switched on, by name, and their weighted sum. It has no parameters.

    Args:
        weights: the weight of each loss in the total; a loss that is not named is not computed.
        softlabel_ratio: weight of the soft labels in N-ITC once the first epoch is over.
        ritc_eps: what R-ITC adds to its targets.
    """

    def __init__(
        self, weights: Mapping[str, float], softlabel_ratio: float = 0.5, ritc_eps: float = 1e-2
    ) -> None:
        unknown = set(weights) - {"nitc", "ritc", "itc"}
        assert not unknown, f"no such loss: {sorted(unknown)}"
        self.weights = dict(weights)
        self.softlabel_ratio = softlabel_ratio
        self.ritc_eps = ritc_eps

    def __call__(
        self, outputs: Outputs, batch: Batch, gather: Gather | None = None, progress: float = 1.0
    ) -> dict[str, Tensor]:
        """The losses of one batch, un-weighted, by name.

        Args:
            progress: epochs since the stage began; the soft labels grow over the first one.
        """
        gather = gather or Alone()
        scale = outputs.logit_scale.exp()
        image_views = F.normalize(outputs.image_features.float(), dim=-1)  # (V, B, D)
        text = F.normalize(outputs.text_features.float(), dim=-1)  # (B, D)
        # One collective for all features: side by side, (B, (V + 1) D).
        packed = gather(torch.cat([*image_views, text], dim=1))
        *every_view, every_text = packed.split(text.shape[1], dim=1)
        every_ids = gather(batch.ids)

        image, ids = image_views[0], batch.ids
        views = [Pairs(view, every_text, every_ids) for view in every_view]
        losses = {}
        if "nitc" in self.weights:
            alpha = self.softlabel_ratio * min(1.0, progress)
            losses["nitc"] = torch.stack(
                [
                    n_itc(view, text, ids, scale, alpha, gathered=every)
                    for view, every in zip(image_views, views, strict=True)
                ]
            ).mean()
        if "ritc" in self.weights:
            losses["ritc"] = r_itc(image, text, ids, scale, self.ritc_eps, gathered=views[0])
        if "itc" in self.weights:
            first = gather.rank * len(batch)
            losses["itc"] = itc(image, text, scale, gathered=views[0], first=first)
        return losses

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The sum of the losses, each with its weight."""
        return torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()
