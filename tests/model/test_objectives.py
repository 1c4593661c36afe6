"""Losses against slow loops over pairs, and against the numbers of the published code."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model import objectives
from model.objectives import (
    c_itc,
    cmpm,
    identity,
    identity_targets,
    itc,
    masked_lm,
    n_itc,
    r_itc,
    sdm,
    sigmoid,
    simclr,
    sup_con,
    tal,
    triplet,
    trl,
)
from model.pairs import Pairs
from tests import GOLDEN_FILES

GOLDEN = np.load(GOLDEN_FILES / "tbps_losses.npz")
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


@pytest.mark.parametrize("name", ["n_itc", "r_itc", "itc", "sdm", "cmpm"])
def test_a_reduction_is_given_a_term_of_every_pair(batch, name):
    """Of each direction; the mean unless asked otherwise."""
    loss, features = getattr(objectives, name), (batch.image, batch.text)
    rest = {"itc": (4.0,), "cmpm": (batch.ids,)}.get(name, (batch.ids, 4.0))
    sizes = []

    def reduce(terms: Tensor) -> Tensor:
        sizes.append(terms.shape)
        return terms.sum()

    total = loss(*features, *rest, reduce=reduce)
    assert total.item() == pytest.approx(7 * loss(*features, *rest).item())
    assert sizes == [(7,), (7,)]


def slow_c_itc(batch: Pairs) -> float:
    image, text = batch.image, batch.text
    inmodal = crossmodal = 0.0
    size = len(batch.ids)
    for i in range(size):
        for j in range(size):
            inmodal += float(image[i] @ image[j] - text[i] @ text[j]) ** 2
            crossmodal += float(image[i] @ text[j] - image[j] @ text[i]) ** 2
    return (0.25 * inmodal + 0.25 * crossmodal) / size**2


def slow_simclr(a: Tensor, b: Tensor, temperature: float) -> float:
    total = 0.0
    for anchors, others in ((a, b), (b, a)):
        for i, anchor in enumerate(anchors):
            row = [float(anchor @ other) / temperature for other in others]
            row += [float(anchor @ s) / temperature for j, s in enumerate(anchors) if j != i]
            total -= math.log(softmax(row)[i])
    return total / (2 * len(a))


def slow_cmpm(image: Tensor, text: Tensor, ids: Tensor, eps: float) -> float:
    total = 0.0
    for anchors, columns in ((image, text), (text, image)):
        for i, anchor in enumerate(anchors):
            p = softmax([float(anchor @ c) / math.sqrt(float(c @ c)) for c in columns])
            same = [float(other == ids[i]) for other in ids]
            norm = math.sqrt(sum(same))
            total += sum(
                q * (math.log(q) - math.log(s / norm + eps)) for q, s in zip(p, same, strict=True)
            )
    return total / len(ids)


def test_c_itc_is_the_slow_one(batch):
    loss = c_itc(batch.image, batch.text, 4.0)
    assert loss.item() == pytest.approx(slow_c_itc(batch), rel=1e-9)


def test_simclr_is_the_slow_one(batch):
    loss = simclr(batch.image, batch.text, 0.5)
    assert loss.item() == pytest.approx(slow_simclr(batch.image, batch.text, 0.5), rel=1e-9)


def test_sdm_sums_what_r_itc_averages(batch):
    assert sdm(*batch, 4.0).item() == pytest.approx(2 * slow_r_itc(batch, 4.0, 1e-8), rel=1e-6)


def test_cmpm_is_the_slow_one(batch):
    image, text = 3 * batch.image, 2 * batch.text
    expected = slow_cmpm(image, text, batch.ids, 1e-8)
    assert cmpm(image, text, batch.ids).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", [sdm, cmpm, simclr])
def test_rows_of_two_processes_make_these_losses_of_one_too(batch, loss):
    whole = Pairs(*(part[:6] for part in batch))

    def of_rows(rows: slice, gathered: Pairs | None) -> Tensor:
        own = Pairs(*(part[rows] for part in whole))
        if loss is simclr:
            both = None if gathered is None else (gathered.image, gathered.text)
            return simclr(own.image, own.text, gathered=both, first=rows.start)
        return loss(*own, **({"scale": 4.0} if loss is sdm else {}), gathered=gathered)

    parts = [of_rows(slice(first, first + 3), whole) for first in (0, 3)]
    assert torch.stack(parts).mean().item() == pytest.approx(
        of_rows(slice(0, 6), None).item(), rel=1e-9
    )


def test_label_smoothing_shares_a_part_among_all_identities():
    logits = torch.tensor([[2.0, 0.0, -1.0]], dtype=torch.float64)
    p = softmax(logits[0].tolist())
    expected = -sum((0.9 * (k == 0) + 0.1 / 3) * math.log(p[k]) for k in range(3))
    assert identity(logits, torch.tensor([0]), 0.1).item() == pytest.approx(expected)


def test_masked_lm_ignores_what_was_not_masked():
    logits = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([3, -100, 5, -100])
    expected = -sum(math.log(softmax(logits[i].tolist())[labels[i]]) for i in (0, 2)) / 2
    assert masked_lm(logits, labels).item() == pytest.approx(expected, rel=1e-6)
    assert masked_lm(logits, torch.full((4,), -100)) == 0
    assert masked_lm(logits[:0], labels[:0]) == 0
    # One masked word in two processes: each divides by the mean of their numbers, a half.
    one = torch.tensor([3, -100, -100, -100])
    shares = [masked_lm(logits[rows], one[rows], torch.tensor(0.5)) for rows in ([0, 1], [2, 3])]
    torch.testing.assert_close(sum(shares) / 2, masked_lm(logits, one))


@pytest.mark.parametrize("case", CASES)
def test_c_itc_is_the_published_one(case):
    x = golden_inputs(case, "img", "txt")
    loss = 0.1 * c_itc(normalised(x["img"]), normalised(x["txt"]), x["logit_scale"].exp())
    check_golden(case, "citc", loss + 0 * x["logit_scale"], x)


@pytest.mark.parametrize("case", CASES)
def test_simclr_is_the_published_one(case):
    a, b = (golden(case, name).double() for name in ("ss1", "ss2"))
    a, b = normalised(a).requires_grad_(), normalised(b).requires_grad_()
    loss = simclr(a, b)
    loss.backward()
    assert loss.item() == pytest.approx(golden(case, "simclr_raw_loss").item(), rel=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_irras_losses_are_the_published_ones(case):
    data = np.load(GOLDEN_FILES / "irra_losses.npz")

    def given(name: str) -> Tensor:
        return torch.tensor(data[f"{case}/{name}"])

    ids, scale = given("pid"), given("logit_scale").item()
    for name in ("sdm", "itc", "cmpm"):
        image, text = (given(key).double().requires_grad_() for key in ("img", "txt"))
        pair = normalised(image), normalised(text)
        if name == "sdm":
            loss = sdm(*pair, ids, scale)
        elif name == "itc":
            loss = itc(*pair, scale)
        else:
            loss = cmpm(image, text, ids)
        loss.backward()
        assert loss.item() == pytest.approx(given(f"{name}_loss").item(), rel=1e-6)
        for leaf, key in ((image, "img"), (text, "txt")):
            torch.testing.assert_close(leaf.grad, given(f"{name}_grad_{key}"), rtol=2e-6, atol=1e-9)
    logits = [given(f"{key}_logits").double() for key in ("img", "txt")]
    loss = torch.stack([identity(rows, ids) for rows in logits]).mean()
    assert loss.item() == pytest.approx(given("id_loss").item(), rel=2e-6)
    labels = given("mlm_labels")
    labels = labels.masked_fill(labels == 0, -100)  # there 0 is ignored
    loss = masked_lm(given("mlm_scores").double(), labels)
    assert loss.item() == pytest.approx(given("mlm_loss").item(), rel=2e-6)


REID = np.load(GOLDEN_FILES / "clipreid_losses.npz")
IDS = {
    "balanced": [0, 0, 1, 1, 2, 2],
    "unbalanced": [3, 1, 3, 3, 2, 3, 1, 3],
    "a single one": [0, 0, 5, 0, 1, 1],
    "one identity": [4, 4, 4],
    "no positives": [0, 1, 2],
}


def raw_features(ids: list[int], seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(len(ids), 5, generator=rng, dtype=torch.float64)


def slow_sup_con(anchors: Tensor, contrast: Tensor, ids: list, others: list, t: float) -> float:
    total = 0.0
    for anchor, own in zip(anchors, ids, strict=True):
        p = softmax([float(anchor @ other) / t for other in contrast])
        positives = [math.log(p[j]) for j in range(len(p)) if others[j] == own]
        total -= sum(positives) / len(positives)
    return total / len(ids)


def slow_triplet(features: Tensor, ids: list[int], margin: float | None) -> float:
    rows = []
    for i, own in enumerate(ids):
        distances = [math.dist(features[i].tolist(), other.tolist()) for other in features]
        positives = [d for j, d in enumerate(distances) if ids[j] == own and j != i]
        negatives = [d for j, d in enumerate(distances) if ids[j] != own]
        if positives and negatives:
            gap = max(positives) - min(negatives)
            rows.append(math.log1p(math.exp(gap)) if margin is None else max(0.0, gap + margin))
    return sum(rows) / len(rows) if rows else 0.0


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_sup_con_is_the_slow_one(temperature):
    ids, others = [3, 1, 3, 2], [1, 3, 2, 3, 3, 1, 7]
    anchors, contrast = raw_features(ids), raw_features(others, seed=1)
    loss = sup_con(anchors, contrast, torch.tensor(ids), torch.tensor(others), temperature)
    expected = slow_sup_con(anchors, contrast, ids, others, temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("margin", [None, 0.0, 0.3, 5.0])
@pytest.mark.parametrize("case", IDS)
def test_triplet_is_the_slow_one(case, margin):
    ids = IDS[case]
    features = raw_features(ids).requires_grad_()
    loss = triplet(features, torch.tensor(ids), margin)
    assert loss.item() == pytest.approx(slow_triplet(features, ids, margin), rel=1e-6)
    loss.backward()
    assert features.grad.isfinite().all()
    if case in ("one identity", "no positives"):
        assert loss == 0
        assert features.grad.eq(0).all()


@pytest.mark.parametrize("margin", [None, 5.0])
def test_triplet_has_the_gradient_of_its_differences(margin):
    ids = torch.tensor(IDS["unbalanced"])
    features = raw_features(IDS["unbalanced"]).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: triplet(x, ids, margin), features)


@pytest.mark.parametrize("ids", [[0, 0, 1, 1], [0, 1, 2, 3], [0, 0, 0, 0]])
def test_triplet_has_a_gradient_where_all_features_are_the_same(ids):
    features = torch.ones(4, 5, requires_grad=True)
    loss = triplet(features, torch.tensor(ids), 0.3)
    loss.backward()
    assert loss.item() == pytest.approx(0.3 if ids == [0, 0, 1, 1] else 0)
    assert features.grad.eq(0).all()


def test_triplet_tells_near_features_far_from_zero_apart():
    """At 1e3 from the origin the expanded square would round distances of 1e-2 away."""
    near = torch.tensor([[0.0, 0.0], [0.02, 0.0], [0.0, 0.01], [0.02, 0.01]]) + 1000
    ids = [0, 0, 1, 1]
    loss = triplet(near, torch.tensor(ids), 0.3)
    assert loss.item() == pytest.approx(slow_triplet(near, ids, 0.3), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_contrasts_of_half_precision_are_those_of_the_same_numbers_in_float32(dtype):
    """Of features whose products and squares overflow in fp16."""
    ids = torch.tensor(IDS["unbalanced"])
    half = (200 * raw_features(IDS["unbalanced"])).to(dtype).requires_grad_()
    whole = half.detach().float().requires_grad_()
    for function in (lambda x: triplet(x, ids), lambda x: sup_con(x, x, ids, ids)):
        losses = [function(x) for x in (half, whole)]
        assert losses[0].dtype == torch.float32
        assert losses[0].isfinite()
        assert torch.equal(*losses)
        losses[0].backward()
        assert half.grad.isfinite().all()


@pytest.mark.parametrize("margin", [None, 0.3])
@pytest.mark.parametrize("ids", [[0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 1, 2], [0, 1, 2, 2, 3, 2]])
def test_triplets_of_two_processes_are_those_of_one(ids, margin):
    """Also where one process has more anchors to leave out than the other."""
    features, ids = raw_features(ids).requires_grad_(), torch.tensor(ids)
    own = [slice(0, 3), slice(3, 6)]
    parts = [
        triplet(features[rows], ids[rows], margin, gathered=features, gathered_ids=ids)
        for rows in own
    ]
    alone = triplet(features, ids, margin)
    assert (sum(parts) / 2).item() == pytest.approx(alone.item(), rel=1e-6)
    together = torch.autograd.grad(sum(parts) / 2, features)
    torch.testing.assert_close(together, torch.autograd.grad(alone, features), rtol=1e-6, atol=1e-9)


def test_sup_con_of_two_processes_is_that_of_one():
    ids = torch.tensor([0, 0, 1, 1, 2, 0])
    anchors, contrast = raw_features(ids), raw_features(ids, seed=1)
    parts = [sup_con(anchors[r], contrast, ids[r], ids) for r in (slice(0, 3), slice(3, 6))]
    alone = sup_con(anchors, contrast, ids, ids)
    assert (sum(parts) / 2).item() == pytest.approx(alone.item(), rel=1e-9)


def published_reid(case: str, name: str) -> Tensor:
    return torch.tensor(REID[f"{case}/{name}"])


def check_published_reid(case: str, name: str, loss: Tensor, rel: float, **leaves: Tensor) -> None:
    """The published loss, and its gradients to the leaves."""
    assert loss.item() == pytest.approx(published_reid(case, f"{name}_loss").item(), rel=rel)
    for key, gradient in zip(leaves, torch.autograd.grad(loss, leaves.values()), strict=True):
        expected = published_reid(case, f"{name}_grad_{key}")
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-8)


def reid_leaf(case: str, name: str) -> Tensor:
    return published_reid(case, name).double().requires_grad_()


@pytest.mark.parametrize("case", CASES)
def test_sup_con_is_the_published_one(case):
    image, text = reid_leaf(case, "feat"), reid_leaf(case, "text")
    ids = published_reid(case, "labels")
    leaves = {"img": image, "txt": text}
    to_text, to_image = sup_con(image, text, ids, ids), sup_con(text, image, ids, ids)
    check_published_reid(case, "stage1_total", to_text + to_image, 1e-6, **leaves)
    check_published_reid(case, "supcon_i2t", sup_con(image, text, ids, ids), 1e-6, **leaves)
    check_published_reid(case, "supcon_t2i", sup_con(text, image, ids, ids), 1e-6, **leaves)


@pytest.mark.parametrize(("name", "margin"), [("triplet_m0.3", 0.3), ("triplet_soft", None)])
@pytest.mark.parametrize("case", CASES)
def test_triplet_is_the_published_one(case, name, margin):
    features, ids = reid_leaf(case, "feat"), published_reid(case, "labels")
    check_published_reid(case, name, triplet(features, ids, margin), 1e-6, f=features)


@pytest.mark.parametrize("case", CASES)
def test_label_smoothing_is_the_published_one(case):
    logits, ids = reid_leaf(case, "score"), published_reid(case, "labels")
    check_published_reid(case, "xent_ls0.1", identity(logits, ids, 0.1), 2e-6, s=logits)


@pytest.mark.parametrize(
    ("name", "identity_weight", "margin", "smoothing"),
    [
        ("stage2_vit", 0.25, 0.3, 0.1),
        ("stage2_cnn", 1.0, 0.3, 0.1),
        ("stage2_vit_soft", 0.25, None, 0.1),
        ("stage2_vit_nols", 0.25, 0.3, 0.0),
    ],
)
@pytest.mark.parametrize("case", CASES)
def test_the_second_stage_is_the_published_one(case, name, identity_weight, margin, smoothing):
    keys = {"s1": "score", "s2": "score_proj", "f2": "feat2", "f": "feat", "f3": "feat3"}
    x = {key: reid_leaf(case, array) for key, array in (keys | {"i2t": "i2t"}).items()}
    ids = published_reid(case, "labels")
    loss = identity_weight * sum(identity(x[key], ids, smoothing) for key in ("s1", "s2"))
    loss = loss + sum(triplet(x[key], ids, margin) for key in ("f2", "f", "f3"))
    loss = loss + identity(x["i2t"], ids, smoothing)
    check_published_reid(case, name, loss, 2e-6, **x)


RDE = np.load(GOLDEN_FILES / "rde.npz")


@pytest.mark.parametrize("case", ["c0", "c1"])
@pytest.mark.parametrize("name", ["tal", "trl"])
def test_losses_of_rde_are_the_published_ones(case, name):
    """Terms of the pairs, the sum over the clean ones, and its gradients to the raw features."""

    def given(key: str) -> Tensor:
        return torch.tensor(RDE[f"{case}/{key}"])

    loss = {"tal": tal, "trl": trl}[name]
    image, text = (given(key).double().requires_grad_() for key in ("image", "text"))
    pairs = normalised(image), normalised(text), given("ids")
    terms = loss(*pairs, reduce=lambda terms: terms)
    torch.testing.assert_close(terms, given(f"{name}_per_sample"), rtol=1e-6, atol=1e-12)
    total = loss(*pairs, clean=given("clean"))
    total.backward()
    assert total.item() == pytest.approx(given(f"{name}_clean_sum").item(), rel=1e-6)
    for leaf, key in ((image, "image"), (text, "text")):
        expected = given(f"{name}_grad_{key}")
        torch.testing.assert_close(leaf.grad, expected, rtol=2e-6, atol=1e-9)


def slow_tal(image: Tensor, text: Tensor, ids: list[int], t: float, margin: float) -> list[float]:
    terms = []
    for i in range(len(ids)):
        term = 0.0
        for own, others in ((image, text), (text, image)):
            s = [float(own[i] @ other) for other in others]
            same = [j for j in range(len(ids)) if ids[j] == ids[i]]
            weights = softmax([s[j] / t for j in same])
            positive = sum(a * s[j] for a, j in zip(weights, same, strict=True))
            rest = [math.exp(s[j] / t) for j in range(len(ids)) if j not in same]
            if rest:
                term += max(0.0, margin + t * math.log(sum(rest)) - positive)
        terms.append(term)
    return terms


@pytest.mark.parametrize("ids", [[0, 1, 2, 0], [3, 3, 1, 3, 2], [4, 4, 4]])
def test_tal_is_the_slow_loop(ids):
    rng = torch.Generator().manual_seed(1)
    image, text = (
        F.normalize(torch.randn(len(ids), 6, generator=rng, dtype=torch.float64), dim=1)
        for _ in range(2)
    )
    terms = tal(image, text, torch.tensor(ids), 0.2, 0.3, reduce=lambda terms: terms)
    assert terms.tolist() == pytest.approx(slow_tal(image, text, ids, 0.2, 0.3))


def test_tal_of_one_identity_alone_is_zero_with_a_gradient():
    image = torch.randn(3, 4, requires_grad=True)
    loss = tal(F.normalize(image, dim=1), F.normalize(torch.randn(3, 4), dim=1), torch.zeros(3))
    loss.backward()
    assert loss == 0
    assert torch.equal(image.grad, torch.zeros(3, 4))


@pytest.mark.parametrize("by_pair", [False, True])
def test_sigmoid_is_a_loop_over_all_pairs(batch, by_pair):
    rows = similarities(batch.image, batch.text, 10.0)
    expected = 0.0
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            same = i == j if by_pair else bool(batch.ids[i] == batch.ids[j])
            expected += math.log1p(math.exp(-(1 if same else -1) * (value - 3.0)))
    own = torch.arange(7) if by_pair else None
    loss = sigmoid(*batch, 10.0, -3.0, own=own)
    assert loss.item() == pytest.approx(expected / 7)
    halves = [
        sigmoid(
            *(part[rows] for part in batch),
            10.0,
            -3.0,
            gathered=batch,
            own=None if own is None else own[rows],
        )
        for rows in (slice(0, 4), slice(4, 7))
    ]
    assert (4 * halves[0] + 3 * halves[1]).item() / 7 == pytest.approx(expected / 7)
