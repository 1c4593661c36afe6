"""Initialisation of the heads, as published, and the combiner of two features."""

import pytest
import torch
import torch.nn.functional as F

from model.heads import Classifier, Combiner, MaskedLanguageDecoder


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


def test_an_untrained_combiner_is_the_sum_in_equal_parts():
    image, text = (F.normalize(torch.randn(5, 8), dim=-1) for _ in range(2))
    torch.testing.assert_close(Combiner(8)(image, text), F.normalize(image + text, dim=-1))


def test_a_combiner_weighs_both_and_adds_a_residual():
    image, text = torch.randn(5, 8), torch.randn(5, 8)
    combiner = Combiner(8, dropout=0.0)
    torch.nn.init.constant_(combiner.gate[-1].bias, 3.0)
    gate = torch.tensor(3.0).sigmoid()
    expected = F.normalize(gate * text + (1 - gate) * image, dim=-1)
    torch.testing.assert_close(combiner(image, text), expected)
    for parameter in combiner.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.cat([combiner.image(image), combiner.text(text)], dim=-1)
    gate = combiner.gate(x).sigmoid()
    expected = combiner.residual(x) + gate * text + (1 - gate) * image
    torch.testing.assert_close(combiner(image, text), F.normalize(expected, dim=-1))
