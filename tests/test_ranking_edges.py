"""Rankings whose matches stand at the ends, or nowhere."""

import numpy as np
import torch

from misc.evaluation import Ranking, choose_queries, nearest, rank_features


def rank(*scores: float, gallery_ids: list[int]) -> Ranking:
    gallery = torch.tensor(scores)[:, None]
    return rank_features(torch.ones(1, 1), gallery, torch.tensor([1]), torch.tensor(gallery_ids))


def test_a_match_may_be_the_last_of_all():
    ranking = rank(0.9, 0.8, 0.7, gallery_ids=[2, 3, 1])
    assert ranking.first.tolist() == [3]
    assert ranking.average_precision.tolist() == [1 / 3]


def test_a_query_without_a_match_has_its_first_beyond_the_end():
    ranking = rank(0.9, 0.8, 0.7, gallery_ids=[2, 3, 4])
    assert ranking.first.tolist() == [4]
    assert ranking.matches.tolist() == [0]
    assert ranking.average_precision.tolist() == [0]


def test_excluded_items_come_after_all_others_in_every_row():
    """Two queries: what one excludes, the other counts."""
    gallery = torch.tensor([[0.9], [0.8], [0.7]])
    indices, similarity = nearest(
        torch.ones(2, 1),
        gallery,
        torch.tensor([1, 2]),
        torch.tensor([1, 2, 3]),
        torch.tensor([0, 0]),
        torch.tensor([0, 0, 0]),
    )
    assert indices.tolist() == [[1, 2, -1], [0, 2, -1]]
    assert similarity[:, 2].tolist() == [-torch.inf] * 2


def test_of_many_equal_queries_the_first_are_the_worst():
    """So many that a sort that is not stable mixes them."""
    precision = (torch.arange(100_000) % 3 + 1).double() / 3
    ones = torch.ones(len(precision), dtype=torch.long)
    ranking = Ranking(ones, ones, precision, precision)
    _, worst = choose_queries(ranking, 1000, np.random.default_rng(0))
    assert worst == list(range(0, 3000, 3))
