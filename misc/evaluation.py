"""Retrieval metrics in bounded memory: rank-k accuracy, mAP and mINP."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from numpy.random import Generator
from torch import Tensor

from errors import InputError

MAX_PAIRS = 2**24  # similarities ranked at once, about 50 bytes each


@dataclass(frozen=True)
class Ranking:
    """The outcome of each query, (Q,) each; without a match only `matches`, 0, is meaningful."""

    matches: Tensor  # number of gallery items that show the query's identity
    first: Tensor  # rank of the first match, from 1
    average_precision: Tensor  # mean precision at the matches
    # matches / rank of the last match (Ye et al. 2021, arXiv 2001.04193)
    inverse_negative_penalty: Tensor

    def metrics(self, ranks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
        """Percentages over the queries that have a match; `unmatched` is the number of others.

        Raises:
            InputError: if no query has a match.
        """
        matched = self.matches > 0
        if not matched.any():
            raise InputError(
                f"none of the {len(matched)} queries has a match in the gallery; check that both "
                "come from the same split"
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
    """R1, R5, R10, mAP and mINP in percent, and the number of `unmatched` queries, which are
    excluded.

    Args:
        similarity: (Q, G), higher is nearer; ties go to the lower gallery index.
        query_ids: (Q,), int64.
        gallery_ids: (G,), int64.
        query_cams, gallery_cams: (Q,), (G,); when given, gallery items with the query's identity
            and camera are excluded (Zheng et al. 2015, the protocol of Market-1501).

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
    *,
    chunk: int = 1024,
) -> Ranking:
    """Rank the gallery by cosine similarity, a few queries at a time.

    The whole matrix is never held: at most `chunk` queries and `MAX_PAIRS` similarities at once.

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


def nearest(
    query: Tensor,
    gallery: Tensor,
    query_ids: Tensor,
    gallery_ids: Tensor,
    query_cams: Tensor | None = None,
    gallery_cams: Tensor | None = None,
    *,
    count: int = 10,
) -> tuple[Tensor, Tensor]:
    """The gallery items that `rank_features` ranks first, in the same bounded memory.

    The arguments and the errors are those of `rank_features`.

    Returns:
        Gallery indices, int64, and similarities, (Q, min(count, G)) each, nearest first. If a query
        has fewer items that are not excluded, the rest of its row is -1 and -inf.
    """
    blocks = _order_blocks(
        lambda rows: query[rows] @ gallery.T, query_ids, gallery_ids, query_cams, gallery_cams
    )
    indices, similarity = zip(*map(partial(_Ordered.first, count=count), blocks), strict=True)
    return torch.cat(indices), torch.cat(similarity)


def choose_queries(ranking: Ranking, count: int, rng: Generator) -> tuple[list[int], list[int]]:
    """Up to `count` queries drawn at random, in order, and as many of lowest average precision, the
    lowest first and ties to the lower index. Queries without a match are excluded.
    """
    matched = ranking.matches.nonzero().flatten()
    sample = rng.choice(len(matched), min(count, len(matched)), replace=False)
    worst = ranking.average_precision[matched].argsort(stable=True)[:count]
    return matched[sorted(sample.tolist())].tolist(), matched[worst].tolist()


class _Ordered(NamedTuple):
    """Gallery items by descending similarity to a few queries, (Q, G) each."""

    gallery: Tensor  # indices
    similarity: Tensor
    counted: Tensor  # not excluded by its camera
    match: Tensor  # counted, and of the query's identity

    def first(self, count: int) -> tuple[Tensor, Tensor]:
        """Indices and similarities of the first counted items, as `nearest` returns them."""
        positions = self.counted.byte().argsort(dim=1, descending=True, stable=True)[:, :count]
        missing = ~self.counted.gather(1, positions)
        return (
            self.gallery.gather(1, positions).masked_fill(missing, -1),
            self.similarity.gather(1, positions).masked_fill(missing, -torch.inf),
        )

    def rank(self) -> Ranking:
        rank = self.counted.cumsum(dim=1)  # among the counted ones, from 1
        matches = self.match.sum(dim=1)
        precision = self.match.cumsum(dim=1).double() / rank.clamp(min=1)
        at_least_one = matches.clamp(min=1)
        last = (rank * self.match).amax(dim=1).clamp(min=1)
        return Ranking(
            matches=matches,
            first=rank.masked_fill(~self.match, rank.shape[1] + 1).amin(dim=1),
            average_precision=(precision * self.match).sum(dim=1) / at_least_one,
            inverse_negative_penalty=matches / last.double(),
        )


def _rank(
    similarity_of: Callable[[slice], Tensor],
    query_ids: Tensor,
    gallery_ids: Tensor,
    query_cams: Tensor | None,
    gallery_cams: Tensor | None,
    chunk: int = MAX_PAIRS,
) -> Ranking:
    blocks = _order_blocks(similarity_of, query_ids, gallery_ids, query_cams, gallery_cams, chunk)
    columns = zip(*(vars(part).values() for part in map(_Ordered.rank, blocks)), strict=True)
    return Ranking(*(torch.cat(column) for column in columns))


def _order_blocks(
    similarity_of: Callable[[slice], Tensor],
    query_ids: Tensor,
    gallery_ids: Tensor,
    query_cams: Tensor | None,
    gallery_cams: Tensor | None,
    chunk: int = MAX_PAIRS,
) -> Iterator[_Ordered]:
    """Ordered blocks of the rows of a similarity matrix, which `similarity_of` computes.

    One block at a time is held, if the caller maps over them.
    """
    step = max(1, min(chunk, MAX_PAIRS // max(1, len(gallery_ids))))
    for first in range(0, max(1, len(query_ids)), step):  # without queries: one empty block
        rows = slice(first, first + step)
        cams = None if query_cams is None else query_cams[rows]
        yield _order(similarity_of(rows), query_ids[rows], gallery_ids, cams, gallery_cams)


def _order(
    similarity: Tensor,
    query_ids: Tensor,
    gallery_ids: Tensor,
    query_cams: Tensor | None,
    gallery_cams: Tensor | None,
) -> _Ordered:
    if similarity.isnan().any():
        raise ValueError("a similarity is NaN: the features contain NaN")
    similarity, order = similarity.sort(dim=1, descending=True, stable=True)
    same_identity = query_ids[:, None] == gallery_ids[None, :]
    counted = torch.ones_like(same_identity)
    if query_cams is not None and gallery_cams is not None:
        counted = ~(same_identity & (query_cams[:, None] == gallery_cams[None, :]))
    match = same_identity & counted
    return _Ordered(order, similarity, counted.gather(1, order), match.gather(1, order))
