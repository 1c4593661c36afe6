"""Every loss between images and captions on two halves of a batch, as two processes compute it."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from misc.settings.loss_sections import OF_EMBEDDINGS, WEIGHTED, TextLossSwitches, switches
from model import objectives
from model.criteria.text import LOSSES, PAIR_LOSSES, TextCriterion, TextLossSettings
from model.interface import TextBatch, TextOutputs
from model.pairs import Pairs

SIZE, HALF = 8, 4
SETTINGS = TextLossSettings(
    0.4, 0.02, citc_inmodal=0.3, citc_crossmodal=0.2, simclr_temperature=0.2, tal_temperature=0.1
)
CLEAN = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0])


def make(seed: int, soft: bool) -> tuple[TextOutputs, TextBatch]:
    rng = torch.Generator().manual_seed(seed)
    ids = torch.tensor([0, 1, 1, 2, 0, 2, 3, 1])
    labels = torch.full((SIZE, 5), -100)
    masked = torch.rand(SIZE, 5, generator=rng) < 0.4
    labels[masked] = torch.randint(11, (int(masked.sum()),), generator=rng)
    outputs = TextOutputs(
        image_features=torch.randn(2, SIZE, 6, generator=rng),
        text_features=torch.randn(SIZE, 6, generator=rng),
        logit_scale=torch.tensor(math.log(4.0)),
        soft_text_features=torch.randn(SIZE, 6, generator=rng) if soft else None,
        simclr_features=torch.randn(2, SIZE, 6, generator=rng),
        image_logits=torch.randn(SIZE, 4, generator=rng),
        text_logits=torch.randn(SIZE, 4, generator=rng),
        word_logits=torch.randn(int(masked.sum()), 11, generator=rng),
        image_selection=torch.randn(SIZE, 3, generator=rng),
        text_selection=torch.randn(SIZE, 3, generator=rng),
        logit_bias=torch.tensor(-2.0),
    )
    batch = TextBatch(
        torch.zeros(2, SIZE, 1),
        torch.zeros_like(labels),
        ids,
        labels=labels,
        indices=torch.tensor([5, 3, 8, 9, 0, 1, 2, 7]),
    )
    return outputs, batch


class Recording:
    """The gather of a process whose rows another one asks for later."""

    def __init__(self, rank: int) -> None:
        self.rank, self.rows = rank, []

    def __call__(self, rows: Tensor) -> Tensor:
        self.rows.append(rows)
        return torch.cat([rows, rows])


class Replaying:
    """The gather of a process, with the rows of the other in the same order."""

    def __init__(self, other: Recording) -> None:
        self.rank, self.rows = 1 - other.rank, iter(other.rows)

    def __call__(self, rows: Tensor) -> Tensor:
        pair = [rows, next(self.rows)]
        return torch.cat(pair if self.rank == 0 else pair[::-1])


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("clean", [None, CLEAN, torch.zeros(10)], ids=["all", "some", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_two_processes_have_the_loss_of_one_on_average(name, clean, soft):
    outputs, batch = make(0, soft)
    criterion = TextCriterion({name: 1.0}, SETTINGS)
    criterion.clean = clean
    halves = batch.split(HALF)
    words = [int((half.labels != -100).sum()) for half in halves]
    assert words[0] != words[1]
    parts = [
        TextOutputs(
            **{
                n: t.split(words if n == "word_logits" else HALF, dim)[i]
                if (dim := TextOutputs.dims.get(n)) is not None
                else t
                for n, t in outputs.present().items()
            }
        )
        for i in range(2)
    ]
    losses = []
    for rank in range(2):
        other = Recording(1 - rank)
        criterion(parts[1 - rank], halves[1 - rank], other)
        losses.append(criterion(parts[rank], halves[rank], Replaying(other))[name])
    torch.testing.assert_close(torch.stack(losses).mean(), criterion(outputs, batch)[name])


def test_each_loss_is_its_objective_with_its_settings():
    outputs, batch = make(1, soft=True)
    first, second = F.normalize(outputs.image_features, dim=-1)
    text = F.normalize(outputs.text_features, dim=-1)
    soft = F.normalize(outputs.soft_text_features, dim=-1)
    pairs, scale = Pairs(first, text, batch.ids), 4.0
    chosen = [F.normalize(x, dim=-1) for x in (outputs.image_selection, outputs.text_selection)]
    other = Pairs(*chosen, batch.ids)
    masked = batch.labels[batch.labels != -100]
    expected = {
        "nitc": (
            objectives.n_itc(first, text, batch.ids, scale, 0.4, first, soft)
            + objectives.n_itc(second, text, batch.ids, scale, 0.4, second, soft)
        )
        / 2,
        "ritc": objectives.r_itc(*pairs, scale, 0.02),
        "citc": objectives.c_itc(first, text, scale, 0.3, 0.2),
        "ss": objectives.simclr(*F.normalize(outputs.simclr_features, dim=-1), 0.2),
        "id": (
            F.cross_entropy(outputs.image_logits, batch.ids)
            + F.cross_entropy(outputs.text_logits, batch.ids)
        )
        / 2,
        "mlm": F.cross_entropy(outputs.word_logits, masked),
        "itc": objectives.itc(first, text, scale) + objectives.itc(*chosen, scale),
        "sdm": objectives.sdm(*pairs, scale) + objectives.sdm(*other, scale),
        "tal": objectives.tal(*pairs, 0.1, 0.1) + objectives.tal(*other, 0.1, 0.1),
        "trl": objectives.trl(*pairs, 0.1, 0.1) + objectives.trl(*other, 0.1, 0.1),
        "sigmoid": objectives.sigmoid(*pairs, scale, -2.0),
        "cmpm": objectives.cmpm(outputs.image_features[0], outputs.text_features, batch.ids),
    }
    assert set(expected) == set(LOSSES)
    found = TextCriterion(dict.fromkeys(LOSSES, 1.0), SETTINGS)(outputs, batch)
    for name, loss in expected.items():
        torch.testing.assert_close(found[name], loss, msg=name)


@pytest.mark.parametrize("name", sorted({*WEIGHTED} - {"citc"}))
def test_pairs_are_weighted_by_their_terms(name):
    """A pair of weight 0 has no term of its own, but is still a negative of the others."""
    outputs, batch = make(1, soft=False)
    criterion = TextCriterion({name: 1.0}, SETTINGS)
    terms = []
    for row in range(SIZE):
        criterion.clean = torch.zeros(10)
        criterion.clean[batch.indices[row]] = 1.0
        terms.append(criterion(outputs, batch)[name])
    criterion.clean = CLEAN
    weights = CLEAN[batch.indices]
    assert 0 < weights.sum() < SIZE
    expected = (weights * torch.stack(terms)).sum()
    if name not in ("tal", "trl"):
        expected = expected / weights.sum()
    torch.testing.assert_close(criterion(outputs, batch)[name], expected)
    criterion.clean = None
    whole = criterion(outputs, batch)[name]
    criterion.clean = torch.ones(10)
    torch.testing.assert_close(criterion(outputs, batch)[name], whole)


def test_c_itc_is_that_of_the_clean_pairs():
    """Its terms are of two pairs, and one of them that does not fit makes them wrong."""
    outputs, batch = make(1, soft=False)
    criterion = TextCriterion({"citc": 1.0}, SETTINGS)
    criterion.clean = CLEAN
    fit = CLEAN[batch.indices] > 0
    image = F.normalize(outputs.image_features[0], dim=-1)[fit]
    text = F.normalize(outputs.text_features, dim=-1)[fit]
    expected = objectives.c_itc(image, text, 4.0, 0.3, 0.2)
    torch.testing.assert_close(criterion(outputs, batch)["citc"], expected)


def test_no_other_loss_weights_pairs():
    outputs, batch = make(1, soft=False)
    others = dict.fromkeys({*switches(TextLossSwitches)} - {*WEIGHTED}, 1.0)
    assert others.keys() >= {"ss", "id", "mlm"}
    criterion = TextCriterion(others, SETTINGS)
    whole = criterion(outputs, batch)
    criterion.clean = CLEAN
    assert criterion(outputs, batch) == whole


def test_losses_of_pairs_are_those_of_all_embeddings():
    assert PAIR_LOSSES.keys() == {*OF_EMBEDDINGS}


def test_positives_of_the_sigmoid_loss_may_be_the_pairs_alone():
    outputs, batch = make(1, soft=False)
    settings = TextLossSettings(sigmoid_positives="pair")
    image, text = F.normalize(outputs.image_features[0], dim=-1), outputs.text_features
    expected = objectives.sigmoid(image, F.normalize(text, dim=-1), torch.arange(SIZE), 4.0, -2.0)
    found = TextCriterion({"sigmoid": 1.0}, settings)(outputs, batch)["sigmoid"]
    torch.testing.assert_close(found, expected)


def test_settings_are_the_published_ones_unless_given():
    assert TextLossSettings() == TextLossSettings(0.5, 0.01, 0.25, 0.25, 0.1, 0.015, 0.1)


def test_a_loss_without_its_head_is_a_mistake_of_the_programmer():
    outputs, batch = make(0, soft=False)
    bare = TextOutputs(outputs.image_features, outputs.text_features, outputs.logit_scale)
    for name in ("ss", "id", "mlm", "sigmoid"):
        with pytest.raises(AssertionError):
            TextCriterion({name: 1.0})(bare, batch)
