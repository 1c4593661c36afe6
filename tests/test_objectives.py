"""Losses against slow loops over pairs, and against the numbers of the published code."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.objectives import Pairs, identity_targets, itc, n_itc, r_itc

GOLDEN = np.load(Path(__file__).parent / "golden" / "tbps_losses.npz")
CASES = ("c0", "c1")


@pytest.fixture(params=[0, 1, 2])
def batch(request) -> Pairs:
    """Normalised features of 7 pairs, some of the same identity."""
    rng = torch.Generator().manual_seed(request.param)
    image, text = torch.randn(2, 7, 5, generator=rng, dtype=torch.float64)
    ids = torch.randint(0, 4, (7,), generator=rng)
    return Pairs(F.normalize(image, dim=1), F.normalize(text, dim=1), ids)


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


def similarities(anchors: Tensor, columns: Tensor, scale: float) -> list[list[float]]:
    return [[scale * sum((a * c).tolist()) for c in columns] for a in anchors]


def hard_targets(ids: Tensor, row: int) -> list[float]:
    same = [float(other == ids[row]) for other in ids]
    return [value / sum(same) for value in same]


def slow_n_itc(batch: Pairs, scale: float, alpha: float) -> float:
    total = 0.0
    for anchors, columns in ((batch.image, batch.text), (batch.text, batch.image)):
        for i, row in enumerate(similarities(anchors, columns, scale)):
            p, hard = softmax(row), hard_targets(batch.ids, i)
            for j in range(len(row)):
                total -= (alpha * p[j] + (1 - alpha) * hard[j]) * math.log(p[j])
    return total / (2 * len(batch.ids))


def slow_r_itc(batch: Pairs, scale: float, eps: float) -> float:
    total = 0.0
    for anchors, columns in ((batch.image, batch.text), (batch.text, batch.image)):
        for i, row in enumerate(similarities(anchors, columns, scale)):
            p, hard = softmax(row), hard_targets(batch.ids, i)
            total += sum(p[j] * (math.log(p[j]) - math.log(hard[j] + eps)) for j in range(len(p)))
    return total / (2 * len(batch.ids))


def slow_itc(batch: Pairs, scale: float) -> float:
    total = 0.0
    for anchors, columns in ((batch.image, batch.text), (batch.text, batch.image)):
        for i, row in enumerate(similarities(anchors, columns, scale)):
            total -= math.log(softmax(row)[i])
    return total / (2 * len(batch.ids))


def test_identity_targets_share_a_row_among_the_same_identity():
    targets = identity_targets(torch.tensor([3, 5]), torch.tensor([3, 5, 3, 9]))
    assert targets.tolist() == [[0.5, 0, 0.5, 0], [0, 1, 0, 0]]


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_n_itc_is_the_slow_one(batch, alpha):
    assert n_itc(*batch, scale=4.0, alpha=alpha).item() == pytest.approx(
        slow_n_itc(batch, 4.0, alpha), rel=1e-6
    )


def test_n_itc_takes_no_gradient_through_its_soft_labels(batch):
    image = batch.image.clone().requires_grad_()
    n_itc(image, batch.text, batch.ids, 4.0, 0.5).backward()
    own = image.grad
    image.grad = None
    soft = {"soft_image": batch.image, "soft_text": batch.text}
    n_itc(image, batch.text, batch.ids, 4.0, 0.5, **soft).backward()
    assert torch.equal(image.grad, own)


def test_n_itc_reads_the_soft_features_that_are_given(batch):
    loss = n_itc(*batch, scale=4.0, alpha=0.5, soft_image=batch.text, soft_text=batch.image)
    assert loss.item() != pytest.approx(slow_n_itc(batch, 4.0, 0.5), rel=1e-3)


@pytest.mark.parametrize("eps", [1e-2, 1e-1])
def test_r_itc_is_the_slow_one(batch, eps):
    assert r_itc(*batch, scale=4.0, eps=eps).item() == pytest.approx(
        slow_r_itc(batch, 4.0, eps), rel=1e-6
    )


def test_itc_is_the_slow_one(batch):
    loss = itc(batch.image, batch.text, 4.0)
    assert loss.item() == pytest.approx(slow_itc(batch, 4.0), rel=1e-9)


@pytest.mark.parametrize("loss", ["n_itc", "r_itc", "itc"])
def test_rows_of_two_processes_make_the_loss_of_one(batch, loss):
    """Slices of 3 rows against all 6 columns: their mean is the loss of the whole."""
    whole = Pairs(*(part[:6] for part in batch))

    def of_rows(rows: slice, gathered: Pairs | None) -> Tensor:
        own = Pairs(*(part[rows] for part in whole))
        if loss == "n_itc":
            return n_itc(*own, scale=4.0, alpha=0.4, gathered=gathered)
        if loss == "r_itc":
            return r_itc(*own, scale=4.0, gathered=gathered)
        return itc(own.image, own.text, 4.0, gathered=gathered, first=rows.start)

    parts = [of_rows(slice(first, first + 3), whole) for first in (0, 3)]
    assert torch.stack(parts).mean().item() == pytest.approx(
        of_rows(slice(0, 6), None).item(), rel=1e-9
    )


def golden(case: str, name: str) -> Tensor:
    return torch.tensor(GOLDEN[f"{case}/{name}"])


def golden_inputs(case: str, *names: str) -> dict[str, Tensor]:
    """Raw features and the log scale as double leaves."""
    return {name: golden(case, name).double().requires_grad_() for name in (*names, "logit_scale")}


def check_golden(case: str, name: str, loss: Tensor, inputs: dict[str, Tensor]) -> None:
    loss.backward()
    assert loss.item() == pytest.approx(golden(case, f"{name}_loss").item(), rel=1e-6)
    for key, leaf in inputs.items():
        expected = golden(case, f"{name}_grad_{key}")
        torch.testing.assert_close(leaf.grad, expected, rtol=1e-6, atol=1e-9)


def normalised(features: Tensor) -> Tensor:
    return F.normalize(features, dim=-1)


@pytest.mark.parametrize("case", CASES)
def test_n_itc_is_the_published_one(case):
    x = golden_inputs(case, "img", "txt")
    image, text = normalised(x["img"]), normalised(x["txt"])
    ids, alpha = golden(case, "ids"), golden(case, "alpha").item()
    loss = n_itc(image, text, ids, x["logit_scale"].exp(), alpha)
    check_golden(case, "nitc", loss, x)


@pytest.mark.parametrize("case", CASES)
def test_n_itc_over_two_views_is_the_published_one(case):
    x = golden_inputs(case, "img", "img1", "txt")
    text, ids, alpha = normalised(x["txt"]), golden(case, "ids"), golden(case, "alpha").item()
    scale = x["logit_scale"].exp()
    first, second = (
        n_itc(normalised(x[name]), text, ids, scale, alpha) for name in ("img", "img1")
    )
    check_golden(case, "nitc_mvs", (first + second) / 2, x)


@pytest.mark.parametrize("case", CASES)
def test_r_itc_is_the_published_one(case):
    x = golden_inputs(case, "img", "txt")
    image, text = normalised(x["img"]), normalised(x["txt"])
    loss = r_itc(image, text, golden(case, "ids"), x["logit_scale"].exp())
    check_golden(case, "ritc", loss, x)
