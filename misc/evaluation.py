"""Retrieval, measured: ranks, mean average precision and inverse negative penalty, in bounded
memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from errors import InputError

MOST_PAIRS = 2**24  # similarities ranked at once, some 50 bytes each


@dataclass(frozen=True)
class Ranking:
    """How the gallery came out for each query, (Q,) each; a query without a match has `matches` 0
    and no meaning else.
    """

    matches: Tensor  # gallery items that show the query's identity
    first: Tensor  # rank of the first match, from 1
    average_precision: Tensor  # mean precision at the matches
    inverse_negative_penalty: (
        Tensor  # matches / rank of the last match (Ye et al. 2021, arXiv 2001.04193)
    )

    def metrics(self, ranks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
        """Percentages over the queries that have a match; the others are counted in `unmatched`."""
        matched = self.matches > 0
        if not matched.any():
            raise InputError(
                f"none of the {len(matched)} queries has a match in the gallery: their identities "
                "do not meet; check that both come from the same split"
            )
        first = self.first[matched]
        metrics = {f"R{rank}": 100 * int((first <= rank).sum()) / len(first) for rank in ranks}
        metrics["mAP"] = 100 * self.average_precision[matched].mean().item()
        metrics["mINP"] = 100 * self.inverse_negative_penalty[matched].mean().item()
        metrics["unmatched"] = int((~matched).sum())
        return metrics


def retrieval_metrics(
    similarity: Tensor,
    query_ids: Tensor,
    gallery_ids: Tensor,
    query_cams: Tensor | None = None,
    gallery_cams: Tensor | None = None,
    ranks: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """R1 R5 R10 mAP mINP in percent, and the number of `unmatched` queries, which are left out of
    them.

    Args:
        similarity: (Q, G), larger is nearer; ties go to the lower gallery index.
        query_ids: (Q,), int64.
        gallery_ids: (G,), int64.
        query_cams, gallery_cams: (Q,), (G,); when given, a gallery item with the query's identity
            and camera is not counted (Zheng et al. 2015, the protocol of Market-1501).

    Raises:
        ValueError: if a similarity is not a number.
        InputError: if no query has a match.
    """
    ranking = _rank(lambda rows: similarity[rows], query_ids, gallery_ids, query_cams, gallery_cams)
    return ranking.metrics(ranks)


def rank_features(
    query: Tensor,
    gallery: Tensor,
    query_ids: Tensor,
    gallery_ids: Tensor,
    query_cams: Tensor | None = None,
    gallery_cams: Tensor | None = None,
    chunk: int = 1024,
) -> Ranking:
    """Rank the gallery by cosine similarity, a few queries at a time.

    The whole matrix never exists: neither more than `chunk` queries nor more than `MOST_PAIRS`
    similarities are looked at together.

    Args:
        query: (Q, D), L2-normalised.
        gallery: (G, D), L2-normalised.

    The other arguments and the errors are those of `retrieval_metrics`.
    """
    return _rank(
        lambda rows: query[rows] @ gallery.T,
        query_ids,
        gallery_ids,
        query_cams,
        gallery_cams,
        chunk,
    )


def _rank(
    similarity_of: Callable[[slice], Tensor],
    query_ids: Tensor,
    gallery_ids: Tensor,
    query_cams: Tensor | None,
    gallery_cams: Tensor | None,
    chunk: int = MOST_PAIRS,
) -> Ranking:
    """Rank by blocks of rows of a similarity matrix, which `similarity_of` gives."""
    step = max(1, min(chunk, MOST_PAIRS // max(1, len(gallery_ids))))
    parts = []
    for first in range(0, len(query_ids), step):
        rows = slice(first, first + step)
        cams = None if query_cams is None else query_cams[rows]
        similarity = similarity_of(rows)
        parts.append(_rank_rows(similarity, query_ids[rows], gallery_ids, cams, gallery_cams))
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Ranking(*(torch.cat(column) for column in columns))


def _rank_rows(
    similarity: Tensor,
    query_ids: Tensor,
    gallery_ids: Tensor,
    query_cams: Tensor | None,
    gallery_cams: Tensor | None,
) -> Ranking:
    if similarity.isnan().any():
        raise ValueError("a similarity is not a number: the features hold NaN")
    order = similarity.argsort(dim=1, descending=True, stable=True)  # (Q, G)
    same_identity = query_ids[:, None] == gallery_ids[None, :]
    counted = torch.ones_like(same_identity)
    if query_cams is not None and gallery_cams is not None:
        counted = ~(same_identity & (query_cams[:, None] == gallery_cams[None, :]))
    match = (same_identity & counted).gather(1, order)
    rank = counted.gather(1, order).cumsum(dim=1)  # among the counted ones, from 1
    matches = match.sum(dim=1)
    precision = match.cumsum(dim=1).double() / rank.clamp(min=1)
    at_least_one = matches.clamp(min=1)
    return Ranking(
        matches=matches,
        first=rank.masked_fill(~match, rank.shape[1] + 1).amin(dim=1),
        average_precision=(precision * match).sum(dim=1) / at_least_one,
        inverse_negative_penalty=matches / (rank * match).amax(dim=1).clamp(min=1).double(),
    )
