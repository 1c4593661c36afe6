"""The order of hits beyond their scores: one hit a track, re-ranking."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from misc.reranking import k_reciprocal
from misc.retrieval.parts import Parts
from misc.search.hit import Hit
from misc.search.table import PictureTable
from misc.search.vectors import Found

RERANKED = 100  # best hits that re-ranking puts in order


def best_of_tracks(search: Callable[[int], list[Hit]], top: int) -> list[Hit]:
    """The best hit of each track, `top` of them or more; a hit without one stands for itself.

    Args:
        search: a number of hits -> so many, best first.
    """
    number = 4 * top
    while True:
        found = search(number)
        best: dict[object, Hit] = {}
        for hit in found:
            best.setdefault(
                hit.path if hit.track is None else (Path(hit.path).parent, hit.track), hit
            )
        if len(best) >= top or len(found) < number:
            return list(best.values())
        number *= 4


def rerank_best(found: Found, query: Tensor, table: PictureTable, parts: Parts) -> Found:
    """The best hits in the order of k-reciprocal re-ranking (Zhong et al. 2017)."""
    if not len(found.rows):
        return found
    gallery = table.take_features(found.rows[:RERANKED]).float()
    query, gallery = parts.comparable(query, gallery)
    order = k_reciprocal(query[None], gallery)[0].argsort(stable=True)
    order = torch.cat([order, torch.arange(len(order), len(found.rows))])
    return Found(found.rows[np.asarray(order)], found.scores[order])
