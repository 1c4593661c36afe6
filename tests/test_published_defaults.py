"""Default hyperparameters of the losses and of re-ranking: what is left out is the published value,
and another value is another result.
"""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from misc.reranking import k_reciprocal
from model import objectives

RNG = torch.Generator().manual_seed(0)
IMAGE, TEXT = (F.normalize(torch.randn(12, 16, generator=RNG), dim=1) for _ in range(2))
IDS = torch.arange(12) // 3
N_ITC = partial(objectives.n_itc, IMAGE, TEXT, IDS, 5.0)
QUERY, GALLERY = torch.randn(9, 6, generator=RNG), torch.randn(70, 6, generator=RNG)


@pytest.mark.parametrize(
    ("function", "published", "others"),
    [
        (N_ITC, {"alpha": 0.0}, {"alpha": 0.3}),
        (partial(objectives.r_itc, IMAGE, TEXT, IDS, 5.0), {"eps": 1e-2}, {"eps": 2e-2}),
        (
            partial(objectives.c_itc, IMAGE, TEXT, 5.0),
            {"inmodal_weight": 0.25, "crossmodal_weight": 0.25},
            {"inmodal_weight": 0.5, "crossmodal_weight": 0.5},
        ),
        (partial(objectives.simclr, IMAGE, TEXT), {"temperature": 0.1}, {"temperature": 0.2}),
        (partial(objectives.sdm, IMAGE, TEXT, IDS, 5.0), {"eps": 1e-8}, {"eps": 2e-8}),
        (partial(objectives.cmpm, IMAGE, TEXT, IDS), {"eps": 1e-8}, {"eps": 2e-8}),
        (partial(objectives.identity, IMAGE, IDS), {"smoothing": 0.0}, {"smoothing": 0.1}),
        (
            partial(objectives.tal, IMAGE, TEXT, IDS),
            {"temperature": 0.015, "margin": 0.1},
            {"temperature": 0.03, "margin": 0.2},
        ),
        (
            partial(objectives.trl, IMAGE, TEXT, IDS),
            {"temperature": 0.015, "margin": 0.1},
            {"temperature": 0.03, "margin": 0.2},
        ),
        (
            partial(objectives.sup_con, IMAGE, TEXT, IDS, IDS),
            {"temperature": 1.0},
            {"temperature": 2.0},
        ),
        (partial(objectives.triplet, IMAGE, IDS), {"margin": None}, {"margin": 0.3}),
        (
            partial(k_reciprocal, QUERY, GALLERY),
            {"k1": 20, "k2": 6, "weight": 0.3},
            {"k1": 21, "k2": 7, "weight": 0.4},
        ),
    ],
)
def test_defaults_are_the_published_values(function, published, others):
    torch.testing.assert_close(function(), function(**published), rtol=0, atol=0)
    for name, other in others.items():
        assert not torch.equal(function(), function(**{name: other})), name


def test_soft_labels_are_of_the_features_themselves_unless_given():
    own = N_ITC(alpha=0.3)
    assert torch.equal(own, N_ITC(alpha=0.3, soft_image=IMAGE, soft_text=TEXT))
    assert not torch.equal(own, N_ITC(alpha=0.3, soft_image=TEXT, soft_text=IMAGE))


def test_hard_triplets_are_found_among_features_that_are_far_from_the_origin():
    """Squares of the norms, 1e4, would swallow distances of 1e-2."""
    ids = torch.tensor([0, 0, 0, *range(1, 30)])
    features = torch.full((32, 2), 100.0)
    features[:, 0] += torch.tensor([0.0, 0.01, 0.02, *(0.1 + 0.01 * i for i in range(29))])
    gaps = [(0.02, 0.1), (0.01, 0.09), (0.02, 0.08)]  # of the three anchors with a positive
    expected = sum(max(0.0, 0.1 + near - far) for near, far in gaps) / 3
    loss = objectives.triplet(features, ids, margin=0.1)
    assert loss.item() == pytest.approx(expected, abs=2e-4)
