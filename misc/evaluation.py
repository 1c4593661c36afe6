"""Retrieval metrics in bounded memory, without sorting: rank-k accuracy, mAP and mINP."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from numpy.random import Generator
from torch import Tensor

from errors import InputError

MAX_PAIRS = 2**27  # similarities held at once
CHUNK = 256  # queries ranked at once unless asked otherwise
TILE = 2**19  # similarities compared at once, about 25 bytes each


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

    def cmc(self, ranks: int) -> list[float]:
        """The cumulative matching characteristic: the percentages of the queries that have a match
        whose first one is among the first 1, 2, ..., `ranks`.
        """
        first = self.first[self.matches > 0]
        found = torch.bincount(first.clamp(max=ranks + 1), minlength=ranks + 2)[1 : ranks + 1]
        return (100 * found.cumsum(dim=0).double() / len(first)).tolist()


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
    labels = _Labels(query_ids, gallery_ids, query_cams, gallery_cams)
    return _rank(lambda rows: similarity[rows], labels).metrics(ranks)


def rank_features(
    query: Tensor,
    gallery: Tensor,
    query_ids: Tensor,
    gallery_ids: Tensor,
    query_cams: Tensor | None = None,
    gallery_cams: Tensor | None = None,
    *,
    chunk: int = CHUNK,
) -> Ranking:
    """Rank the gallery by cosine similarity, a few queries at a time.

    The whole matrix is never held: at most `chunk` queries and `MAX_PAIRS` similarities at once.

    Args:
        query: (Q, D), L2-normalised.
        gallery: (G, D), L2-normalised.

    The other arguments and the errors are those of `retrieval_metrics`.
    """
    labels = _Labels(query_ids, gallery_ids, query_cams, gallery_cams)
    return _rank(lambda rows: query[rows] @ gallery.T, labels, chunk)


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
    labels = _Labels(query_ids, gallery_ids, query_cams, gallery_cams)
    parts = [
        _nearest(query[rows] @ gallery.T, labels, rows, count) for rows in labels.blocks(MAX_PAIRS)
    ]
    indices, similarity = zip(*parts, strict=True)
    return torch.cat(indices), torch.cat(similarity)


def largest(values: Tensor, count: int) -> Tensor:
    """Indices of the largest values of each row, (Q, G) -> (Q, min(count, G)), int64, the largest
    first and ties to the lower index. `count` is at least 1.
    """
    count = min(count, values.shape[1])
    top, found = values.topk(count, dim=1)
    least = top[:, -1:]
    larger = (top > least).sum(dim=1, keepdim=True)
    found, order = found.sort(dim=1)
    order = top.gather(1, order).argsort(dim=1, descending=True, stable=True)
    # `topk` takes any of the values that equal the least: the first of them take their place.
    from_the_end = torch.arange(values.shape[1], 0, -1, dtype=torch.int32, device=values.device)
    equal = ((values == least) * from_the_end).topk(count, dim=1).indices
    slots = torch.arange(count, device=values.device)
    first_equal = equal.gather(1, (slots - larger).clamp(min=0))
    return torch.where(slots < larger, found.gather(1, order), first_equal)


def choose_queries(ranking: Ranking, count: int, rng: Generator) -> tuple[list[int], list[int]]:
    """Up to `count` queries drawn at random, in order, and as many of lowest average precision, the
    lowest first and ties to the lower index. Queries without a match are excluded.
    """
    matched = ranking.matches.nonzero().flatten()
    sample = rng.choice(len(matched), min(count, len(matched)), replace=False)
    worst = ranking.average_precision[matched].argsort(stable=True)[:count]
    return matched[sorted(sample.tolist())].tolist(), matched[worst].tolist()


def queries_at_once(num_gallery: int, chunk: int) -> int:
    """The number of queries that `rank_features` ranks at once."""
    return max(1, min(chunk, MAX_PAIRS // max(1, num_gallery)))


class _Labels:
    """Identities and cameras: which gallery items match a query, and which are excluded."""

    def __init__(
        self,
        query_ids: Tensor,
        gallery_ids: Tensor,
        query_cams: Tensor | None,
        gallery_cams: Tensor | None,
    ) -> None:
        self.query_ids, self.gallery_ids = query_ids, gallery_ids
        self.query_cams, self.gallery_cams = query_cams, gallery_cams
        ids, self.by_identity = gallery_ids.sort(stable=True)
        self.start = torch.searchsorted(ids, query_ids)
        self.end = torch.searchsorted(ids, query_ids, right=True)
        self.most = int((self.end - self.start).max()) if len(query_ids) else 0

    def blocks(self, chunk: int) -> Iterator[slice]:
        """The queries, a few at a time; of none an empty block."""
        step = queries_at_once(len(self.gallery_ids), chunk)
        for first in range(0, max(1, len(self.query_ids)), step):
            yield slice(first, first + step)

    def items(self, rows: slice) -> Tensor:
        """The gallery items of the queries' identities, (Q, M), in order; G where a query has
        fewer, and for at least one of them.
        """
        slots = torch.arange(max(1, self.most), device=self.start.device)
        places = self.start[rows, None] + slots
        missing = places >= self.end[rows, None]
        last = len(self.gallery_ids) - 1
        return self.by_identity[places.clamp(max=last)].masked_fill(missing, last + 1)

    def excluded(self, rows: slice, items: Tensor) -> Tensor:
        """Whether the gallery items of a few queries, (Q, M), have their identity and camera."""
        if self.query_cams is None or self.gallery_cams is None:
            return torch.zeros_like(items, dtype=torch.bool)
        items = items.clamp(max=len(self.gallery_ids) - 1)
        same_identity = self.gallery_ids[items] == self.query_ids[rows, None]
        return same_identity & (self.gallery_cams[items] == self.query_cams[rows, None])


def _rank(similarity_of: Callable[[slice], Tensor], labels: _Labels, chunk: int = CHUNK) -> Ranking:
    parts = [_rank_block(similarity_of(rows), labels, rows) for rows in labels.blocks(chunk)]
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Ranking(*(torch.cat(column) for column in columns))


def _rank_block(similarity: Tensor, labels: _Labels, rows: slice) -> Ranking:
    least = _least(similarity)
    items = labels.items(rows)
    missing = items == similarity.shape[1]
    values = similarity.gather(1, items.masked_fill(missing, 0)).masked_fill(missing, least)
    values, order = values.sort(dim=1, descending=True, stable=True)  # the missing ones come last
    items, missing = items.gather(1, order), missing.gather(1, order)
    excluded = labels.excluded(rows, items) & ~missing
    match = ~(excluded | missing)
    rank = 1 + _count_ahead(similarity, values, items) - excluded.cumsum(dim=1)
    matches = match.sum(dim=1)
    precision = (match.cumsum(dim=1).double() / rank).masked_fill(~match, 0)
    total = precision.cumsum(dim=1)[:, -1]  # in order: the same sum however many zeros follow
    return Ranking(
        matches=matches,
        first=rank.masked_fill(~match, similarity.shape[1] + 1).amin(dim=1),
        average_precision=total / matches.clamp(min=1),
        inverse_negative_penalty=matches / (rank * match).amax(dim=1).clamp(min=1).double(),
    )


def _nearest(similarity: Tensor, labels: _Labels, rows: slice, count: int) -> tuple[Tensor, Tensor]:
    _least(similarity)
    enough = count if labels.query_cams is None else count + labels.most
    step = max(1, TILE // max(1, similarity.shape[1]))
    found = torch.cat([largest(part, enough) for part in similarity.split(step)])
    excluded = labels.excluded(rows, found)
    order = excluded.byte().argsort(dim=1, stable=True)[:, :count]
    found, excluded = found.gather(1, order), excluded.gather(1, order)
    values = similarity.gather(1, found).masked_fill(excluded, -torch.inf)
    return found.masked_fill(excluded, -1), values


def _least(similarity: Tensor) -> Tensor:
    """The least similarity; 0 of none.

    Raises:
        ValueError: if a similarity is not a number.
    """
    least = similarity.amin() if similarity.numel() else similarity.new_zeros(())
    if least.isnan():
        raise ValueError("a similarity is NaN: the features contain NaN")
    return least


def _count_ahead(similarity: Tensor, values: Tensor, items: Tensor) -> Tensor:
    """The number of gallery items ahead of each of M items of a query.

    Args:
        similarity: (Q, G).
        values: (Q, M), the similarities of the items, in descending order, ties by the index.
        items: (Q, M), their gallery indices; G for one that comes after all others.
    """
    steps = [2**power for power in reversed(range(values.shape[1].bit_length()))]
    padding = 2 * steps[0] - 1 - values.shape[1]
    values = torch.cat([values, values[:, -1:].expand(-1, padding)], dim=1)
    items = torch.cat([items, items.new_full((len(items), padding), similarity.shape[1])], dim=1)
    by_place = items.new_zeros(len(items), 2 * steps[0])
    one = items.new_ones(())
    width = max(1, TILE // max(1, len(similarity)))
    for first in range(0, similarity.shape[1], width):
        tile = similarity[:, first : first + width]
        places = _places(tile, first, values, items, steps)
        by_place.scatter_add_(1, places, one.expand_as(places))
    return by_place.cumsum(dim=1)[:, : values.shape[1] - padding]


def _places(
    similarity: Tensor, first: int, values: Tensor, items: Tensor, steps: Sequence[int]
) -> Tensor:
    """The number of items that are not behind each of some gallery items, by bisection.

    Args:
        similarity: (Q, n), of the gallery items from `first` on.
        values, items: (Q, M), as in `_count_ahead`.
        steps: powers of two in descending order, of the sum M.
    """
    places = torch.zeros_like(similarity, dtype=torch.int32)
    for step in steps:
        places.add_(similarity <= values[:, step - 1 :].gather(1, places), alpha=step)
    last = torch.cat([values[:, :1], values], dim=1)  # that is not behind; `places` counts ties so
    tied = similarity == last.gather(1, places)
    row, column = tied.nonzero(as_tuple=True)
    value, index, place = similarity[row, column], first + column, places.new_zeros(len(row))
    for step in steps:
        other, item = (table[row, place + step - 1] for table in (values, items))
        place.add_((value < other) | ((value == other) & (index >= item)), alpha=step)
    places[row, column] = place
    return places
