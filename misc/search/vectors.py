"""The features of an index at one commit, and their exact search."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from misc.evaluation import largest
from misc.search.table import PictureTable, RowIds

IN_MEMORY = 8 * 2**30  # bytes of features that are kept between queries; more are read each time
ROUNDING = 1e-5  # of a cosine similarity in float32, and more: of a score by the query's length


class Found(NamedTuple):
    """The best rows of a query, best first; equal ones in the order of the table."""

    rows: RowIds  # (K,), Lance's row ids at this commit
    scores: Tensor  # (K,), products of their features with the query's


class Chunk(NamedTuple):
    """Some rows of a table."""

    rows: RowIds  # (n,)
    features: Tensor  # (n, D), float16 or float32


class Vectors:
    """The features of one commit.

    Args:
        table: at the commit; see `PictureTable.at`.
    """

    def __init__(self, table: PictureTable) -> None:
        self.table, self.version = table, table.version
        self.count, self.width = len(table), table.width
        self._kept: list[Chunk] | None = None

    def search(self, query: Tensor, top: int, where: str | None = None) -> Found:
        """The most similar rows, by comparison with all of them.

        Args:
            query: (D,), whose products with features are the scores.
            where: a condition in SQL.

        Raises:
            InputError: the condition cannot be understood.
        """
        chosen = None if where is None else self.table.rows_where(where)
        best = Found(np.empty(0, np.uint64), torch.empty(0))
        for rows, features in self.chunks():
            if chosen is not None:
                keep = np.isin(rows, chosen, assume_unique=True)
                rows, features = rows[keep], features[torch.from_numpy(keep)]
            near, scores = _nearest(features, query, top)
            rows = np.concatenate([best.rows, rows[near.numpy()]])
            best = _best(rows, torch.cat([best.scores, scores]), top)
        return best

    def search_approximately(self, query: Tensor, top: int, where: str | None = None) -> Found:
        """The most similar rows by the approximate index, which may miss some.

        Arguments and errors are those of `search`.
        """
        rows = self.table.nearest(query, top, where)
        features = self.table.take_features(rows).float()
        return _best(rows, (features * query).sum(dim=1), top)

    def chunks(self) -> Iterator[Chunk]:
        """All rows in the order of the table, from memory if they fit."""
        if self._kept is not None:
            yield from self._kept
            return
        read = (Chunk(*each) for each in self.table.features())
        values = self.count * self.width
        if 4 * values <= IN_MEMORY:
            # Converting float16 takes longer than comparing.
            self._kept = [Chunk(rows, features.float()) for rows, features in read]
            yield from self._kept
        elif values * self.table.bytes_per_value <= IN_MEMORY:
            self._kept = list(read)
            yield from self._kept
        else:
            yield from read


def _nearest(features: Tensor, query: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """The numbers of the `top` best rows, or some more, in their order, and their scores."""
    if not len(features):
        return torch.empty(0, dtype=torch.int64), torch.empty(0)
    rough = features.float() @ query  # rounds equal rows differently, by their place in the matrix
    least = rough.topk(min(top, len(rough))).values[-1] - ROUNDING * query.norm().clamp(min=1)
    near = (rough >= least).nonzero()[:, 0]
    return near, (features[near].float() * query).sum(dim=1)


def _best(rows: RowIds, scores: Tensor, top: int) -> Found:
    """The `top` highest scores, equal ones in their order."""
    order = largest(scores[None], top)[0]
    return Found(rows[order.numpy()], scores[order])
