"""Two processes rank as one: the same numbers, bit by bit."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import misc.retrieval.shared_ranking
from misc.evaluation import Ranking, rank_features
from misc.retrieval.shared_ranking import rank_together
from misc.runtime.distributed import Processes, processes
from tests.ranks import run_ranks

CHUNK = 32


def draw(num_queries: int) -> tuple[Tensor, ...]:
    rng = torch.Generator().manual_seed(num_queries)
    gallery = F.normalize(torch.randn(150, 16, generator=rng))
    query = F.normalize(torch.randn(num_queries, 16, generator=rng))
    gallery[10:30] = gallery[0]  # ties
    query_ids, *others = (torch.randint(8, (n,), generator=rng) for n in (num_queries, 150) * 2)
    others[0][60:] = 9
    query_ids[-1:] = 9  # this one alone has so many matches
    return query, gallery, query_ids, *others


def rank(own: Processes, sizes: tuple[int, ...]) -> list[tuple[Ranking, int]]:
    """The rankings, and how many queries this process ranked itself."""
    counts = []

    def counting(query: Tensor, *args: Tensor, chunk: int) -> Ranking:
        counts.append(len(query))
        return rank_features(query, *args, chunk=chunk)

    torch.set_num_threads(1)
    misc.retrieval.shared_ranking.rank_features = counting
    try:
        rankings = [rank_together(*draw(size), chunk=CHUNK, processes=own) for size in sizes]
    finally:
        misc.retrieval.shared_ranking.rank_features = rank_features
    return list(zip(rankings, counts, strict=True))


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_the_ranking(tmp_path: Path, world_size: int):
    """Of many queries, of fewer blocks than processes, and of none."""
    sizes = (200, 40, 5, 0)
    with processes("cpu") as own:
        alone = rank(own, sizes)
    together = run_ranks(rank, world_size, tmp_path, sizes)
    for (expected, size), *each in zip(alone, *together, strict=True):
        for ranking, _ in each:
            for field in fields(Ranking):
                found, known = (getattr(r, field.name) for r in (ranking, expected))
                assert found.dtype == known.dtype
                assert torch.equal(found, known), field.name
        counts = [count for _, count in each]
        assert sum(counts) == size
        assert max(counts) - min(counts) <= CHUNK
    (whole, _), *_ = alone
    direct = rank_features(*draw(200), chunk=CHUNK)
    assert torch.equal(whole.average_precision, direct.average_precision)
