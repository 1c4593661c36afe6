import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import options
from errors import InputError
from misc.settings.loss_sections import TextLossSwitches
from misc.tasks.text.task import build_criterion
from model.criteria import text
from model.criteria.base import LossRegistry
from model.criteria.text import LOSSES, TextCriterion, TextLossSettings
from model.interface import TextBatch, TextOutputs
from model.objectives import itc, n_itc, r_itc


@pytest.fixture
def outputs() -> TextOutputs:
    torch.manual_seed(0)
    scale = torch.tensor(math.log(10.0), requires_grad=True)
    return TextOutputs(torch.randn(2, 5, 8), torch.randn(5, 8), scale)


@pytest.fixture
def batch() -> TextBatch:
    ids = torch.tensor([0, 1, 1, 2, 0])
    return TextBatch(torch.zeros(2, 5, 3, 4, 4), torch.zeros(5, 7, dtype=torch.long), ids)


def test_every_loss_has_a_switch_and_a_weight():
    assert set(TextLossSwitches.model_fields) == {*LOSSES, *(f"{name}_ratio" for name in LOSSES)}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_that_is_switched_on_comes_with_its_weight(name):
    """mixgen_ratio and softlabel_ratio are no weights of losses, whatever is switched on."""
    off = [f"experiment.{other}=false" for other in LOSSES if other != name]
    only = [*off, f"experiment.{name}=true", f"experiment.{name}_ratio=0.7"]
    config = options.parse([*only, "experiment.mixgen=true"]).configure()
    assert build_criterion(config).weights == {name: 0.7}


def test_only_named_losses_are_computed(outputs, batch):
    assert list(TextCriterion({"ritc": 1.0})(outputs, batch)) == ["ritc"]
    names = {"nitc": 1.0, "ritc": 1.0, "itc": 1.0}
    assert set(TextCriterion(names)(outputs, batch)) == set(names)


def test_losses_are_the_objectives_of_normalised_features(outputs, batch):
    first, second = F.normalize(outputs.image_features, dim=-1)
    text, ids, scale = F.normalize(outputs.text_features, dim=-1), batch.ids, 10.0
    losses = TextCriterion({"nitc": 1.0, "ritc": 1.0, "itc": 1.0}, TextLossSettings(ritc_eps=0.02))(
        outputs, batch
    )
    both_views = [n_itc(view, text, ids, scale, 0.5) for view in (first, second)]
    torch.testing.assert_close(losses["nitc"], torch.stack(both_views).mean())
    torch.testing.assert_close(losses["ritc"], r_itc(first, text, ids, scale, 0.02))
    torch.testing.assert_close(losses["itc"], itc(first, text, scale))


def test_soft_labels_grow_over_the_first_epoch(outputs, batch):
    criterion = TextCriterion({"nitc": 1.0}, TextLossSettings(softlabel_ratio=0.5))
    by_progress = {p: criterion(outputs, batch, progress=p)["nitc"] for p in (0.0, 0.5, 1.0, 3.0)}
    views, text = F.normalize(outputs.image_features, dim=-1), F.normalize(outputs.text_features)
    for progress, alpha in ((0.0, 0.0), (0.5, 0.25), (1.0, 0.5), (3.0, 0.5)):
        expected = torch.stack([n_itc(view, text, batch.ids, 10.0, alpha) for view in views])
        torch.testing.assert_close(by_progress[progress], expected.mean())


def test_total_is_the_weighted_sum(outputs):
    criterion = TextCriterion({"nitc": 2.0, "ritc": 0.5})
    losses = {"nitc": torch.tensor(3.0), "ritc": torch.tensor(4.0)}
    assert criterion.total(losses, outputs).item() == 8.0


def test_what_no_loss_reads_has_a_gradient_of_zeros(outputs, batch):
    criterion = TextCriterion({"cmpm": 1.0})
    criterion.total(criterion(outputs, batch), outputs).backward()
    assert outputs.logit_scale.grad == 0


def test_an_unknown_loss_is_refused_with_the_nearest_registered_one():
    message = (
        r"^experiment\.losses: no loss 'sdn' is .*; did you mean sdm\? \(nitc, ritc, .*cmpm\)$"
    )
    with pytest.raises(InputError, match=message):
        TextCriterion({"sdm": 1.0, "sdn": 1.0})


def test_a_registered_function_is_a_loss(outputs, batch, monkeypatch):
    monkeypatch.setattr(text, "LOSSES", LossRegistry(LOSSES))

    @text.LOSSES.register("cosine")
    def cosine(contrast: text.Contrast) -> Tensor:
        image, caption, _ = contrast.pairs
        return 1 - (image * caption).sum(dim=1).mean()

    criterion = TextCriterion({"cosine": 2.0, "sdm": 1.0})
    losses = criterion(outputs, batch)
    first, captions = outputs.image_features[0], outputs.text_features
    torch.testing.assert_close(
        losses["cosine"], 1 - F.cosine_similarity(first, captions).mean(), rtol=1e-5, atol=1e-6
    )
    expected = 2 * losses["cosine"] + losses["sdm"]
    torch.testing.assert_close(criterion.total(losses, outputs), expected)
    with pytest.raises(AssertionError, match="cosine is registered twice"):
        text.LOSSES.register("cosine")


def test_a_loss_is_registered_where_the_criterion_looks():
    assert text.register_text_loss.__self__ is LOSSES


def test_the_scale_learns(outputs, batch):
    criterion = TextCriterion({"nitc": 1.0})
    criterion.total(criterion(outputs, batch), outputs).backward()
    assert outputs.logit_scale.grad.abs() > 0
