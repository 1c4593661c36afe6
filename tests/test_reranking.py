"""k-reciprocal re-ranking: the paper written out densely, and the published code's numbers."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from misc.reranking import k_reciprocal
from tests import GOLDEN_FILES

GOLDEN = GOLDEN_FILES


def people(queries: int, gallery: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features of some seven images a person, as evaluations see them."""
    rng = torch.Generator().manual_seed(seed)
    images = queries + gallery
    centres = torch.randn(images // 7 + 1, 8, generator=rng)
    features = centres[torch.randint(len(centres), (images,), generator=rng)]
    features = features + 0.5 * torch.randn(images, 8, generator=rng)
    return features[:queries], features[queries:]


def from_the_paper(query: Tensor, gallery: Tensor, k1: int, k2: int, weight: float) -> np.ndarray:
    """Equations 1 to 12 of Zhong et al. 2017, in float64, with sets and whole matrices."""
    features = torch.cat([query, gallery]).double().numpy()
    images = range(len(features))
    squared = np.square(features[:, None] - features[None, :]).sum(axis=2)
    distance = (squared / squared.max(axis=0)).T
    ranking = [sorted(images, key=lambda j: (j != i, distance[i, j], j)) for i in images]

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in ranking[i][: k + 1] if i in ranking[j][: k + 1]}

    vectors = np.zeros_like(distance)
    for i in images:
        own = reciprocal(i, k1)
        expanded = set(own)
        for candidate in own:
            theirs = reciprocal(candidate, round(k1 / 2))
            if len(own & theirs) > 2 / 3 * len(theirs):
                expanded |= theirs
        members = sorted(expanded)
        vectors[i, members] = np.exp(-distance[i, members])
        vectors[i] /= vectors[i].sum()
    vectors = np.stack([vectors[ranking[i][:k2]].mean(axis=0) for i in images])
    pairs = [vectors[: len(query), None], vectors[None, len(query) :]]
    jaccard = 1 - np.minimum(*pairs).sum(axis=2) / np.maximum(*pairs).sum(axis=2)
    return (1 - weight) * jaccard + weight * distance[: len(query), len(query) :]


SETTINGS = [
    (20, 6, 0.3),
    (50, 15, 0.3),
    (25, 1, 0.0),
    (7, 3, 0.5),
    (1, 1, 0.3),
    (4, 9, 0.2),
    (6, 6, 1),
]


@pytest.mark.parametrize(("k1", "k2", "weight"), SETTINGS)
def test_is_the_papers(k1, k2, weight):
    query, gallery = people(23, 90)
    reranked = k_reciprocal(query, gallery, k1, k2, weight)
    assert reranked.dtype == torch.float32
    expected = from_the_paper(query, gallery, k1, k2, weight)
    np.testing.assert_allclose(reranked, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("k1", "k2", "weight"), SETTINGS[:4])
def test_is_clip_reids(k1, k2, weight):
    data = np.load(GOLDEN / "reranking.npz")
    query, gallery = (torch.tensor(data[f"c1/{name}"]) for name in ("query", "gallery"))
    reranked = k_reciprocal(query, gallery, k1, k2, weight)
    expected = data[f"c1/dist_k1_{k1}_k2_{k2}_lam_{weight}"]
    np.testing.assert_allclose(reranked, expected, rtol=0, atol=5e-3)  # float16 inside
    exact = from_the_paper(query, gallery, k1, k2, weight)
    np.testing.assert_allclose(reranked, exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_ties_go_to_the_lower_index(chunk):
    """On a coarse grid most distances are tied, and some images are in it more than k1 times."""
    rng = torch.Generator().manual_seed(0)
    features = torch.randint(3, (120, 3), generator=rng) + 1000.1
    features[60:75] = features[0]
    query, gallery = features[:20], features[20:]
    expected = from_the_paper(query, gallery, 8, 3, 0.3)
    reranked = k_reciprocal(query, gallery, 8, 3, 0.3, chunk=chunk)
    np.testing.assert_allclose(reranked, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("queries", "gallery"), [(1, 1), (3, 2), (9, 1)])
def test_more_neighbours_than_images(queries, gallery):
    features = people(queries, gallery)
    expected = from_the_paper(*features, 20, 15, 0.3)
    np.testing.assert_allclose(k_reciprocal(*features, 20, 15), expected, rtol=0, atol=1e-5)


def test_images_all_alike_are_at_no_distance():
    assert k_reciprocal(torch.ones(2, 4), torch.ones(9, 4)).abs().max() < 1e-6


def test_brings_a_persons_images_nearer():
    """Two long rows of images side by side: what lies along the row is the same person."""
    along = torch.arange(30.0)
    rows = torch.cat([torch.stack([along, torch.full((30,), y)], 1) for y in (0.0, 4.0)])
    same = torch.arange(1, 60) < 30
    squared = (rows[:1] - rows[1:]).square().sum(dim=1)
    reranked = k_reciprocal(rows[:1], rows[1:], k1=6, k2=3, weight=0.0)[0]
    assert squared[same][4] > squared[~same][0]
    assert reranked[same][4] < reranked[~same][0]


class Largest(TorchDispatchMode):
    """Notes the largest tensor that was made, in bytes."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, Tensor):
                self.bytes = max(self.bytes, tensor.untyped_storage().nbytes())
        return made


def test_never_holds_the_whole_matrix():
    query, gallery = people(10, 990)
    with Largest() as largest:
        k_reciprocal(query, gallery, k1=12, k2=9, chunk=16)
    assert 1000 * 16 * 8 <= largest.bytes < 1000 * 1000 / 2  # half of what bools would take


def test_works_on_the_features_device():
    """With another default device, whatever is made without naming one meets the features."""
    query, gallery = people(3, 20)
    with torch.device("meta"):
        reranked = k_reciprocal(query, gallery)
    assert reranked.device == query.device


@pytest.mark.parametrize(
    "wrong", [{"k1": 0}, {"k2": 0}, {"weight": -0.1}, {"weight": float("nan")}, {"chunk": 0}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        k_reciprocal(*people(3, 5), **wrong)


def test_features_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 8\) and \(5, 7\)"):
        k_reciprocal(torch.zeros(3, 8), torch.zeros(5, 7))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(value):
    query, gallery = people(3, 5)
    gallery[2, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        k_reciprocal(query, gallery)
