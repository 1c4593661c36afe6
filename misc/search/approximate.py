"""The approximate index of a large table, and its recall against exact search."""

import numpy as np
import torch

from misc.runtime.seeding import Purpose, generator
from misc.search.index import Index
from misc.search.vectors import Vectors

FEWEST = 100_000  # pictures; fewer are compared with all in milliseconds
QUERIES, HITS = 200, 10  # of the measured recall


def build_approximate(index: Index) -> str:
    """Build Lance's approximate index where it pays, and say in a sentence how well it does."""
    number = len(index)
    if number <= FEWEST:
        return (
            f"No approximate index is built for {number:,} pictures: up to {FEWEST:,} are compared "
            "one by one in milliseconds"
        )
    index.table.build_approximate()
    vectors = Vectors(index.table.at(index.table.version))
    recall = measure_recall(vectors, index.people.parts.words)
    return f"Approximate index: recall@{HITS} {recall:.3f} against exact search"


def measure_recall(vectors: Vectors, words: int | None = None, seed: int = 0) -> float:
    """The share of the exact hits that the approximate index finds.

    The queries are pictures of the index, drawn by seed.

    Args:
        words: the values that sentences are compared with, if pictures have two embeddings: the
            queries then have these alone.
    """
    rows = np.concatenate([chunk.rows for chunk in vectors.chunks()])
    drawn = generator(seed, Purpose.QUERIES).choice(rows, min(QUERIES, len(rows)), replace=False)
    shares = []
    for query in vectors.table.take_features(drawn).float():
        if words is not None:
            query[words:] = 0
        query = torch.nn.functional.normalize(query, dim=0)
        exact = vectors.search(query, HITS).rows
        found = vectors.search_approximately(query, HITS).rows
        shares.append(np.isin(exact, found).mean())
    return float(np.mean(shares))
