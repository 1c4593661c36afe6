"""Registered backbones, as far as a configuration knows them."""

import pytest

from model.backbones import KINDS, BackboneKind
from tests import ROOT
from tests.command_line import configure, refusal


@pytest.fixture
def made_up(monkeypatch, write):
    """A backbone that only this test registers, with a recipe of its own."""
    recipe = write("made_up.yaml", "data: {normalize: half}\nmodel: {embed_dim: 768}")
    kind = BackboneKind("made-up", "nowhere", source_key="init_from", recipe=recipe)
    monkeypatch.setitem(KINDS, kind.name, kind)
    return kind


@pytest.mark.parametrize("choice", [("--backbone", "made-up"), ("model.backbone=made-up",)])
def test_a_registered_backbone_is_accepted(made_up, choice):
    words = (*choice, "--simplified", "model.init_from=weights.pt", "data.batch_size=4")
    config = configure(*words)
    assert (config.model.kind, config.model.source) == (made_up, "weights.pt")
    assert (config.data.normalize, config.model.embed_dim) == ("half", 768)
    assert not config.model.from_scratch
    assert configure(*words, "data.normalize=clip").data.normalize == "clip"
    assert configure(*words, "model.tokenizer_type=made-up").model.tokenizer_type == "made-up"


def test_a_registered_backbone_is_checked_by_what_it_can_do(made_up):
    words = ("--backbone", "made-up", "--simplified")
    assert refusal(*words) == (
        "command line: model: init_from is not set, but backbone made-up needs pretrained weights: "
        "name them there"
    )
    words += ("model.init_from=weights.pt",)
    assert "last_stride is 1, but the image tower is a ViT" in refusal(
        *words, "model.last_stride=1"
    )
    assert "needs model.backbone altclip, but that is made-up" in refusal(
        *words, "experiment.use_altclip_processor=true"
    )
    reid = str(ROOT / "config/clipreid_vit.yaml")
    assert "made-up cannot be trained for task image_to_image, only for text_to_image" in refusal(
        "--config", reid, *(word for word in words if word != "--simplified")
    )
    assert "did you mean made-up? (clip, altclip, " in refusal("--backbone", "madeup")
