"""Similarities of all pairs of queries and gallery items, counted in bins."""

from typing import NamedTuple

import torch
from torch import Tensor

BINS = 200  # of the cosines from -1 to 1
MAX_PAIRS = 2**22  # counted at once, about 25 bytes each


class Similarities(NamedTuple):
    """Numbers of pairs by their similarity, (BINS,) each, int64, the lowest first."""

    matches: Tensor  # pairs of one identity
    others: Tensor
    gallery_size: int


def count_similarities(
    query: Tensor,
    gallery: Tensor,
    query_ids: Tensor,
    gallery_ids: Tensor,
    query_cams: Tensor | None = None,
    gallery_cams: Tensor | None = None,
) -> Similarities:
    """Count all pairs by their similarity, a few queries at a time.

    Args:
        query: (Q, D), L2-normalised.
        gallery: (G, D), L2-normalised.
        query_ids: (Q,), int64.
        gallery_ids: (G,), int64.
        query_cams, gallery_cams: (Q,), (G,); pairs of one identity and one camera are left out.
    """
    counts = torch.zeros(3 * BINS, dtype=torch.long, device=query.device)
    for rows in torch.arange(len(query)).split(max(1, MAX_PAIRS // len(gallery))):
        similarity = query[rows] @ gallery.T  # (q, G)
        bins = ((similarity + 1) * (BINS / 2)).long().clamp(0, BINS - 1)
        is_match = query_ids[rows, None] == gallery_ids
        bins += BINS * is_match
        if query_cams is not None and gallery_cams is not None:
            bins[is_match & (query_cams[rows, None] == gallery_cams)] = 2 * BINS
        counts += torch.bincount(bins.flatten(), minlength=3 * BINS)
    others, matches, _ = counts.cpu().split(BINS)
    return Similarities(matches, others, len(gallery))
