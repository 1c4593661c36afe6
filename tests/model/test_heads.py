"""Initialisation of the heads, as published."""

import pytest
import torch

from model.heads import Classifier, MaskedLanguageDecoder


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_a_classifier_starts_small_and_without_a_preference():
    classifier = Classifier(100, 200)
    assert classifier.weight.std().item() == pytest.approx(0.001, rel=0.03)
    assert not classifier.bias.any()
    assert Classifier(4, 5, bias=False).bias is None


@pytest.mark.parametrize("depth", [1, 4])
def test_the_decoder_starts_as_irras_does(depth):
    """Standard deviations width^-0.5, (2 width)^-0.5 and (2 depth width)^-0.5."""
    decoder = MaskedLanguageDecoder(64, depth, heads=2, vocab_size=150)
    for weight, deviation in (
        (decoder.cross_attn.in_proj_weight, 64**-0.5),
        (decoder.cross_attn.out_proj.weight, (2 * depth * 64) ** -0.5),
        (decoder.to_words[0].weight, (2 * 64) ** -0.5),
        (decoder.to_words[-1].weight, (2 * depth * 64) ** -0.5),
    ):
        assert weight.std().item() == pytest.approx(deviation, rel=0.05)
        assert weight.mean().item() == pytest.approx(0, abs=0.05 * deviation)
