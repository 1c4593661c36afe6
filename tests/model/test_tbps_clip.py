"""The whole model against the published code: features, losses and gradients of one tiny step."""

import math
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.clip import CLIP, TextShape
from model.criteria.text import TextCriterion
from model.heads import Classifier, MaskedLanguageDecoder, ProjectionHead
from model.interface import TextBatch, TextOutputs
from model.tbps_clip import TBPSCLIP
from model.vit import VisionShape
from model.weights.published.tbps_clip import from_tbps_clip, to_tbps_clip
from tests import GOLDEN_FILES

GOLDEN = np.load(GOLDEN_FILES / "tbps_step.npz")
RATIOS = {"nitc": 1.0, "ritc": 1.0, "citc": 0.1, "ss": 0.4, "id": 1.0}


def golden(name: str) -> torch.Tensor:
    return torch.tensor(GOLDEN[f"c1/{name}"])


@pytest.fixture
def model() -> TBPSCLIP:
    vision = VisionShape(64, 2, 2, patch_size=16, stride=16, image_size=(64, 32))
    text = TextShape(64, 2, 2, context_length=20, vocab_size=300)
    model = TBPSCLIP(
        CLIP(vision, text, embed_dim=64),
        simclr_mlp=ProjectionHead(64, 32, 64),
        classifier=Classifier(64, 6),
        mlm_decoder=MaskedLanguageDecoder(64, 1, 2, 300),
    )
    names = [name for name in GOLDEN.files if name.startswith("weights/")]
    published = {name.removeprefix("weights/"): torch.tensor(GOLDEN[name]) for name in names}
    state = from_tbps_clip(published) | {"clip.logit_scale": torch.tensor(math.log(1 / 0.07))}
    model.load_state_dict(state)
    return model.train()


@pytest.fixture
def batch() -> TextBatch:
    return TextBatch(
        images=torch.stack([golden("image"), golden("aug1")]),
        tokens=golden("tokens"),
        ids=golden("ids"),
        simclr_images=torch.stack([golden("aug_ss_1"), golden("aug_ss_2")]),
        labels=torch.full_like(golden("tokens"), -100),
    )


def test_a_step_is_the_published_one(model, batch):
    """Soft labels of half their weight, so that alpha is the golden one whatever the progress."""
    alpha = golden("alpha").item()
    outputs = model(batch)
    torch.testing.assert_close(
        outputs.image_features[0].double(), golden("image_feat"), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        outputs.text_features.double(), golden("text_feat"), rtol=1e-4, atol=1e-5
    )
    criterion = TextCriterion(RATIOS)
    losses = criterion(outputs, batch, progress=2 * alpha)
    for name, ratio in RATIOS.items():
        expected = golden(f"{name}_loss").item()
        assert ratio * losses[name].item() == pytest.approx(expected, rel=1e-4), name
    total = criterion.total(losses, outputs)
    assert total.item() == pytest.approx(golden("total").item(), rel=1e-4)

    total.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    every = {n: torch.zeros_like(p) for n, p in model.state_dict().items()}
    published = to_tbps_clip(every | gradients)
    checked = 0
    for key in GOLDEN.files:
        if not key.startswith("c1/gstat/"):
            continue
        name = key.removeprefix("c1/gstat/")
        gradient = published[name].double().numpy()
        seed = zlib.crc32(f"probe.{name}".encode())
        probe = np.random.RandomState(seed).standard_normal(gradient.shape)
        digest = [gradient.sum(), abs(gradient).sum(), np.linalg.norm(gradient)]
        digest.append((gradient * probe).sum())
        scale = GOLDEN[key][1] / max(1, gradient.size) ** 0.5
        np.testing.assert_allclose(digest, GOLDEN[key], rtol=1e-3, atol=1e-3 * scale + 1e-6)
        checked += 1
    assert checked > 60


def test_dense_features_are_the_published_ones(model, batch):
    _, image = model.clip.encode_image(batch.images[0], dense=True)
    _, text = model.clip.encode_text(batch.tokens, dense=True)
    torch.testing.assert_close(image.double(), golden("image_dense"), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(text.double(), golden("text_dense"), rtol=1e-4, atol=1e-5)


def test_a_batch_without_a_masked_word_keeps_the_decoder_in_the_graph(model, batch):
    outputs = model(batch)
    assert outputs.word_logits.shape == (0, 300)
    criterion = TextCriterion({"mlm": 1.0})
    losses = criterion(outputs, batch)
    assert losses["mlm"] == 0
    criterion.total(losses, outputs).backward()
    gradients = [p.grad for p in model.mlm_decoder.parameters()]
    assert all(g is not None and not g.any() for g in gradients)


def test_the_decoder_alone_sees_masked_words_where_the_losses_see_clean_captions(model, batch):
    """And its logits are those of a pass in which all see them."""
    labels = batch.labels.clone()
    labels[:, 1] = batch.tokens[:, 1]
    masked = batch.tokens.clone()
    masked[:, 1] = 7
    assert not torch.equal(masked, batch.tokens)
    both = model(replace(batch, labels=labels, masked_tokens=masked))
    seen = model(replace(batch, labels=labels, tokens=masked))
    torch.testing.assert_close(both.word_logits, seen.word_logits)
    torch.testing.assert_close(both.text_features, model(batch).text_features)
    assert not torch.allclose(seen.text_features, both.text_features)


def test_the_soft_pass_of_its_own_has_another_dropout_mask(model, batch):
    model.fresh_soft_pass = True
    outputs = model(batch)
    torch.testing.assert_close(outputs.soft_text_features, outputs.text_features)
    assert not outputs.soft_text_features.requires_grad
    for block in model.clip.text.transformer.blocks:
        block.attn.dropout = 0.3
    outputs = model(batch)
    assert not torch.equal(outputs.soft_text_features, outputs.text_features)


def test_batches_and_outputs_are_parted_and_joined_again(model, batch):
    parts = batch.split(2)
    assert [len(part) for part in parts] == [2, 1]
    again = TextBatch.join(parts)
    for name, tensor in batch.present().items():
        assert torch.equal(getattr(again, name), tensor), name
    outputs = [model(part) for part in parts]
    joined = TextOutputs.join(outputs)
    for part, other in zip(joined.split_like(outputs), outputs, strict=True):
        for name, tensor in other.present().items():
            assert torch.equal(getattr(part, name), tensor), name
