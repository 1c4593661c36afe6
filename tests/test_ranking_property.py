"""Rankings without sorting are those of a stable sort, whatever the ties, cameras and types."""

import numpy as np
import pytest
import torch
from torch import Tensor

import misc.evaluation
from misc.evaluation import Ranking, nearest, rank_features

FIELDS = ("matches", "first", "average_precision", "inverse_negative_penalty")
TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
COUNT = 7


def slow(similarity: Tensor, labels: list[Tensor]) -> tuple[list[tuple], list[list[int]]]:
    """The fields of `Ranking` of each query, and its counted gallery items in order."""
    query_ids, gallery_ids, *cams = (label.numpy() for label in labels)
    rows, orders = [], []
    for q, values in enumerate(similarity.double().numpy()):
        order = np.argsort(-values, kind="stable")
        if cams:
            own = (gallery_ids == query_ids[q]) & (cams[1] == cams[0][q])
            order = order[~own[order]]
        ranks = np.flatnonzero(gallery_ids[order] == query_ids[q]) + 1
        orders.append(order.tolist())
        if len(ranks):
            precision = (np.arange(len(ranks)) + 1) / ranks
            rows.append((len(ranks), ranks[0], precision.mean(), len(ranks) / ranks[-1]))
        else:
            rows.append((0, len(values) + 1, 0, 0))
    return rows, orders


def draw(rng: np.random.Generator, dtype: torch.dtype) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Queries, gallery and labels: with many ties or few, many matches or few, infinities."""
    q, g = rng.integers(1, 40), rng.integers(1, 90)
    levels, people = rng.choice([1, 2, 4, 1000]), rng.choice([1, 2, 5, 40])
    query, gallery = (torch.tensor(rng.integers(-levels, levels + 1, n)) for n in (q, g))
    features = [query[:, None].to(dtype), gallery[:, None].to(dtype) / 8]
    if rng.random() < 0.3:
        features[0][0] = 1
        features[1][rng.integers(g, size=3)] = torch.inf * torch.tensor([[1], [-1], [-1]]).to(dtype)
        features[0].masked_fill_(features[0] == 0, 1)
    labels = [torch.tensor(rng.integers(people, size=n)) for n in (q, g)]
    if rng.random() < 0.7:
        labels += [torch.tensor(rng.integers(rng.choice([1, 2, 6]), size=n)) for n in (q, g)]
    return features[0], features[1], labels


@pytest.mark.parametrize(("tile", "draws"), [(1, 15), (50, 60), (2**18, 60)])  # 1: 0.2 s a draw
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_is_a_stable_sort(monkeypatch, dtype, tile, draws):
    monkeypatch.setattr(misc.evaluation, "TILE", tile)
    rng = np.random.default_rng(tile)
    for _ in range(draws):
        query, gallery, labels = draw(rng, dtype)
        monkeypatch.setattr(misc.evaluation, "MAX_PAIRS", int(rng.choice([1, 300, 2**20])))
        similarity = query @ gallery.T
        rows, orders = slow(similarity, labels)
        ranking = rank_features(query, gallery, *labels, chunk=int(rng.integers(1, 50)))
        check(ranking, rows)
        indices, values = nearest(query, gallery, *labels, count=COUNT)
        for q, order in enumerate(orders):
            padding = min(COUNT, len(gallery)) - len(order[:COUNT])
            assert indices[q].tolist() == order[:COUNT] + [-1] * padding
            expected = similarity[q, order[:COUNT]].tolist() + [-torch.inf] * padding
            assert values[q].tolist() == expected


def check(ranking: Ranking, rows: list[tuple]) -> None:
    for name, expected in zip(FIELDS, zip(*rows, strict=True), strict=True):
        found = getattr(ranking, name)
        if name in ("matches", "first"):
            assert found.tolist() == list(expected)
        torch.testing.assert_close(found.double(), torch.tensor(expected).double())


def test_hundreds_of_matches_among_equal_similarities():
    rng = np.random.default_rng(0)
    labels = [torch.tensor(rng.integers(3, size=n)) for n in (30, 2000, 30, 2000)]
    labels[2:] = [cams % 2 for cams in labels[2:]]
    gallery = torch.tensor(rng.integers(-20, 20, (2000, 1))).float()
    query = torch.tensor(rng.choice([-1.0, 0.0, 1.0], (30, 1))).float()
    rows, _ = slow(query @ gallery.T, labels)
    assert min(row[0] for row in rows) > 200
    check(rank_features(query, gallery, *labels), rows)


@pytest.mark.parametrize("place", [(0, 0), (2, 3)])
def test_nan_is_refused_wherever_it_is(place):
    similarity = torch.zeros(3, 4)
    similarity[place] = torch.nan
    with pytest.raises(ValueError, match="is NaN"):
        nearest(similarity, torch.eye(4), torch.zeros(3).long(), torch.zeros(4).long())
