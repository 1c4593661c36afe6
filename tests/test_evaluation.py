"""Metrics by hand, against slow loops, and against the numbers of the published code."""

import numpy as np
import pytest
import torch
from torch import Tensor

import misc.evaluation
from errors import InputError
from misc.evaluation import (
    Ranking,
    choose_queries,
    nearest,
    rank_features,
    retrieval_metrics,
)
from tests import GOLDEN_FILES

GOLDEN = GOLDEN_FILES


def ids(*values: int) -> Tensor:
    return torch.tensor(values)


def test_by_hand():
    """Ranks of the matches: 1 and 3 of query 0; 2 of query 1."""
    similarity = torch.tensor([[0.9, 0.5, 0.8, 0.1], [0.2, 0.9, 0.1, 0.8]])
    metrics = retrieval_metrics(similarity, ids(7, 8), ids(7, 7, 9, 8), ranks=(1, 2, 3))
    assert metrics == {
        "R1": 50.0,
        "R2": 100.0,
        "R3": 100.0,
        "mAP": pytest.approx(100 * ((1 + 2 / 3) / 2 + 1 / 2) / 2),
        "mINP": pytest.approx(100 * (2 / 3 + 1 / 2) / 2),
        "unmatched": 0,
    }


def test_same_identity_and_camera_is_not_counted():
    """Gallery 0 shows the query from its own camera: the stranger in second place comes first."""
    similarity = torch.tensor([[0.9, 0.8, 0.7]])
    args = (similarity, ids(1), ids(1, 2, 1))
    assert retrieval_metrics(*args)["R1"] == 100
    with_cams = retrieval_metrics(*args, query_cams=ids(0), gallery_cams=ids(0, 0, 1))
    assert with_cams["R1"] == 0
    assert with_cams["mAP"] == 50
    assert with_cams["mINP"] == 50


def test_queries_without_a_match_are_left_out_and_counted():
    similarity = torch.tensor([[0.9, 0.8], [0.1, 0.2]])
    metrics = retrieval_metrics(similarity, ids(1, 5), ids(1, 2))
    assert (metrics["R1"], metrics["mAP"], metrics["unmatched"]) == (100, 100, 1)


def test_a_match_only_in_the_own_camera_is_no_match():
    similarity = torch.tensor([[0.9, 0.8], [0.9, 0.8]])
    cams = {"query_cams": ids(0, 1), "gallery_cams": ids(0, 0)}
    metrics = retrieval_metrics(similarity, ids(1, 1), ids(1, 2), **cams)
    assert metrics["unmatched"] == 1
    assert metrics["R1"] == 100


def test_no_match_at_all_is_refused_in_a_sentence():
    with pytest.raises(InputError, match="none of the 1 queries has a match"):
        retrieval_metrics(torch.tensor([[0.9]]), ids(1), ids(2))


def test_ties_go_to_the_lower_gallery_index():
    assert retrieval_metrics(torch.zeros(1, 3), ids(1), ids(2, 1, 2))["mAP"] == 50
    assert retrieval_metrics(torch.zeros(1, 3), ids(1), ids(1, 2, 2))["R1"] == 100


def test_nan_is_refused():
    with pytest.raises(ValueError, match="is NaN"):
        retrieval_metrics(torch.tensor([[float("nan"), 1.0]]), ids(1), ids(1, 2))


@pytest.mark.parametrize("with_cams", [False, True])
def test_is_the_slow_one(with_cams):
    rng = np.random.default_rng(3)
    similarity = rng.normal(size=(30, 40))
    query, gallery = rng.integers(0, 12, 30), rng.integers(0, 12, 40)
    cams = (rng.integers(0, 3, 30), rng.integers(0, 3, 40)) if with_cams else None
    firsts, precisions, penalties = [], [], []
    for q in range(30):
        order = sorted(range(40), key=lambda g: -similarity[q, g])
        if cams:
            order = [g for g in order if not (gallery[g] == query[q] and cams[1][g] == cams[0][q])]
        hits = [rank for rank, g in enumerate(order, 1) if gallery[g] == query[q]]
        if hits:
            firsts.append(hits[0])
            precisions.append(np.mean([k / rank for k, rank in enumerate(hits, 1)]))
            penalties.append(len(hits) / hits[-1])
    tensors = [torch.tensor(x) for x in (similarity, query, gallery, *(cams or ()))]
    metrics = retrieval_metrics(*tensors)
    assert metrics["R5"] == pytest.approx(100 * np.mean(np.array(firsts) <= 5))
    assert metrics["mAP"] == pytest.approx(100 * np.mean(precisions))
    assert metrics["mINP"] == pytest.approx(100 * np.mean(penalties))
    assert metrics["unmatched"] == 30 - len(firsts)


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_chunks_do_not_change_the_ranking(chunk):
    torch.manual_seed(0)
    query = torch.nn.functional.normalize(torch.randn(20, 6, dtype=torch.float64), dim=1)
    gallery = torch.nn.functional.normalize(torch.randn(30, 6, dtype=torch.float64), dim=1)
    labels = (torch.arange(20) % 5, torch.arange(30) % 5)
    cams = (torch.arange(20) % 2, torch.arange(30) % 2)
    whole = retrieval_metrics(query @ gallery.T, *labels, *cams)
    assert rank_features(query, gallery, *labels, *cams, chunk=chunk).metrics() == whole


@pytest.mark.parametrize("with_cams", [False, True])
@pytest.mark.parametrize("pairs", [2**24, 90])
def test_the_nearest_are_those_of_the_slow_one(monkeypatch, with_cams, pairs):
    """With ties, in blocks of three queries, and past the end of what is counted."""
    monkeypatch.setattr(misc.evaluation, "MAX_PAIRS", pairs)
    rng = np.random.default_rng(3)
    query, gallery = (torch.tensor(rng.integers(-1, 2, (n, 3)).astype(float)) for n in (20, 30))
    labels = [torch.tensor(rng.integers(0, 3, n)) for n in (20, 30)]
    cams = [torch.tensor(rng.integers(0, 2, n)) for n in (20, 30)] if with_cams else []
    similarity = query @ gallery.T
    for count in (1, 10, 40):
        indices, values = nearest(query, gallery, *labels, *cams, count=count)
        assert indices.shape == values.shape == (20, min(count, 30))
        for q, row in enumerate(indices.tolist()):
            order = sorted(range(30), key=lambda g: -similarity[q, g])
            if cams:
                own = (labels[1] == labels[0][q]) & (cams[1] == cams[0][q])
                order = [g for g in order if not own[g]]
            padding = len(row) - len(order[:count])
            assert row == order[:count] + [-1] * padding
            expected = [similarity[q, g] for g in order[:count]] + [-torch.inf] * padding
            assert values[q].tolist() == expected


def test_the_nearest_are_ten_unless_asked_otherwise():
    features, ids = torch.eye(12), torch.zeros(12)
    indices, _ = nearest(features, features, ids, ids)
    assert indices.shape == (12, 10)


def test_nothing_is_nearest_to_no_queries():
    features = torch.eye(3)
    indices, values = nearest(features[:0], features, ids()[:0].long(), ids(1, 2, 3))
    assert indices.shape == values.shape == (0, 3)


def ranking(matches: list[int], average_precision: list[float]) -> Ranking:
    nothing = torch.zeros(len(matches))
    return Ranking(ids(*matches), nothing, torch.tensor(average_precision), nothing)


def test_the_worst_queries_come_first_and_have_matches():
    rng = np.random.default_rng(0)
    of_five = ranking([1, 0, 2, 1, 3], [0.5, 0.0, 0.25, 1.0, 0.25])
    assert choose_queries(of_five, 3, rng)[1] == [2, 4, 0]
    assert choose_queries(of_five, 9, rng) == ([0, 2, 3, 4], [2, 4, 0, 3])
    assert choose_queries(of_five, 0, rng) == ([], [])
    assert choose_queries(ranking([0], [0.0]), 2, rng) == ([], [])


def test_the_sample_is_its_generators():
    of_many = ranking([1, 0] * 50, [0.5] * 100)
    first, again, other = (
        choose_queries(of_many, 10, np.random.default_rng(seed))[0] for seed in (0, 0, 1)
    )
    assert first == again != other
    assert first == sorted(set(first))
    assert all(query % 2 == 0 for query in first)


@pytest.mark.parametrize("case", ["c0", "c1"])
def test_is_tbps_clips(case):
    data = np.load(GOLDEN / "metrics_tbps.npz")
    names = ("scores", "txt2person", "img2person")
    metrics = retrieval_metrics(*(torch.tensor(data[f"{case}/{name}"]) for name in names))
    r1, r5, r10, _, mean_ap = data[f"{case}/result_r1_r5_r10_rmean_mAP"]
    assert [metrics[key] for key in ("R1", "R5", "R10")] == pytest.approx([r1, r5, r10])
    assert metrics["mAP"] == pytest.approx(mean_ap, rel=1e-5)


@pytest.mark.parametrize("case", ["c0", "c1"])
def test_is_irras(case):
    data = np.load(GOLDEN / "metrics_irra.npz")
    names = ("similarity", "q_pids", "g_pids")
    tensors = [torch.tensor(data[f"{case}/{name}"]) for name in names]
    metrics = retrieval_metrics(*tensors, ranks=range(1, 11))
    cmc = [metrics[f"R{rank}"] for rank in range(1, 11)]
    assert cmc == pytest.approx(data[f"{case}/cmc"].tolist(), rel=1e-5)
    assert metrics["mAP"] == pytest.approx(float(data[f"{case}/mAP"]), rel=1e-5)
    assert metrics["mINP"] == pytest.approx(float(data[f"{case}/mINP"]), rel=1e-5)


def test_is_the_protocol_of_market_1501():
    data = np.load(GOLDEN / "metrics_clipreid.npz")
    names = ("q_pids", "g_pids", "q_camids", "g_camids")
    labels = [torch.tensor(data[f"c0/{name}"]) for name in names]
    metrics = retrieval_metrics(-torch.tensor(data["c0/distmat"]), *labels, ranks=range(1, 51))
    cmc = [metrics[f"R{rank}"] / 100 for rank in range(1, 51)]
    assert cmc == pytest.approx(data["c0/cmc"].tolist(), rel=1e-6)
    assert metrics["mAP"] / 100 == pytest.approx(float(data["c0/mAP"]), rel=1e-6)
