"""Triplet losses that stand captions of other pictures (Qin et al. 2024, RDE, arXiv 2308.09911).

The conventions are those of `model/objectives.py`, which hands them on.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from model.pairs import Pairs, Reduction


def tal(
    image: Tensor,
    text: Tensor,
    ids: Tensor,
    temperature: float = 0.015,
    margin: float = 0.1,
    clean: Tensor | None = None,
    *,
    gathered: Pairs | None = None,
    reduce: Reduction = torch.sum,
) -> Tensor:
    """Triplet alignment loss (Qin et al. 2024, arXiv 2308.09911, eq. 6), both directions added.

    The hinge max(0, margin + n - p) of each pair, where n is `temperature` times the log-sum-exp of
    the similarities to other identities, divided by `temperature`, and p the mean similarity to
    those of its own, weighted by their softmax, which has no gradient. Published is the sum over
    the pairs, and among several processes over those of all.

    Args:
        clean: (B,), the weight of each pair, 0 for one whose caption is taken for another's.
    """
    pairs = gathered or Pairs(image, text, ids)

    def negative(similarity: Tensor, same: Tensor) -> Tensor:
        others = (similarity / temperature).masked_fill(same, torch.finfo(similarity.dtype).min)
        return temperature * others.logsumexp(dim=1)

    terms = _hinges(Pairs(image, text, ids), pairs, temperature, margin, negative)
    return reduce(terms if clean is None else clean * terms) * (len(pairs.ids) // len(ids))


def trl(
    image: Tensor,
    text: Tensor,
    ids: Tensor,
    temperature: float = 0.015,
    margin: float = 0.1,
    clean: Tensor | None = None,
    *,
    gathered: Pairs | None = None,
    reduce: Reduction = torch.sum,
) -> Tensor:
    """Triplet ranking loss with the hardest negative (Qin et al. 2024, eq. 5), otherwise as `tal`.

    As in the published code, a negative similarity counts as 0.
    """
    pairs = gathered or Pairs(image, text, ids)

    def negative(similarity: Tensor, same: Tensor) -> Tensor:
        return similarity.masked_fill(same, 0.0).amax(dim=1)

    terms = _hinges(Pairs(image, text, ids), pairs, temperature, margin, negative)
    return reduce(terms if clean is None else clean * terms) * (len(pairs.ids) // len(ids))


def _hinges(
    own: Pairs,
    pairs: Pairs,
    temperature: float,
    margin: float,
    negative: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """The terms of TAL and TRL, (B,)."""
    same = own.ids[:, None] == pairs.ids[None, :]

    def one_way(anchors: Tensor, columns: Tensor) -> Tensor:
        similarity = anchors @ columns.T
        logits = (similarity.detach() / temperature).masked_fill(~same, -torch.inf)
        positive = (logits.softmax(dim=1) * similarity).sum(dim=1)
        return F.relu(margin + negative(similarity, same) - positive)

    return one_way(own.image, pairs.text) + one_way(own.text, pairs.image)
