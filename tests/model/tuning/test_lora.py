"""LoRA on both backbones: where it sits, what trains, and the weights merged."""

import copy

import pytest
import torch

from errors import InputError
from misc.optim import freeze
from model.altclip import AltCLIP, AltTextShape
from model.clip import CLIP, DualEncoder, TextShape
from model.criteria.text import TextCriterion
from model.interface import TextBatch
from model.resnet import ResNetShape
from model.tbps_clip import TBPSCLIP
from model.tuning.adapters import add_adapters
from model.tuning.description import LoraTuning, Tuning
from model.tuning.lora import add_lora, base_names, merge_lora
from model.tuning.prompts import add_prompts
from model.tuning.tune import describe_tuning, frozen_names, tune
from model.vit import VisionShape

VISION = VisionShape(64, 2, 2, patch_size=16, stride=16, image_size=(64, 32))


def small_clip() -> CLIP:
    torch.manual_seed(0)
    return CLIP(VISION, TextShape(48, 3, 2, context_length=20, vocab_size=300), embed_dim=32)


def small_altclip() -> AltCLIP:
    torch.manual_seed(0)
    text = AltTextShape(48, 2, 2, context_length=20, vocab_size=300, transformed_width=48)
    return AltCLIP(VISION, text, embed_dim=32)


BACKBONES = pytest.mark.parametrize("build", [small_clip, small_altclip])


def batch() -> TextBatch:
    generator = torch.Generator().manual_seed(1)
    return TextBatch(
        images=torch.randn(1, 4, 3, 64, 32, generator=generator),
        tokens=torch.randint(2, 300, (4, 16), generator=generator),
        ids=torch.arange(4),
    )


def features(clip: DualEncoder) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return clip.encode_image(batch().images[0]), clip.encode_text(batch().tokens)


def train_a_little(model: TBPSCLIP) -> None:
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer, criterion = torch.optim.Adam(trained, lr=1e-2), TextCriterion({"sdm": 1.0})
    for _ in range(3):
        outputs = model(batch())
        optimizer.zero_grad()
        criterion.total(criterion(outputs, batch()), outputs).backward()
        optimizer.step()


@BACKBONES
@pytest.mark.parametrize("towers", [["image"], ["text"], ["image", "text"]])
@pytest.mark.parametrize("targets", [["attention"], ["mlp"], ["attention", "mlp"]])
def test_it_sits_in_every_block_and_starts_from_nothing(build, towers, targets):
    clip = build()
    before, names = features(clip), set(clip.state_dict())
    add_lora(clip, rank=4, alpha=8, targets=targets, towers=towers)
    assert all(torch.equal(*pair) for pair in zip(features(clip), before, strict=True))
    sides = {"image": clip.visual, "text": clip.text}
    layers = sum(sides[tower].shape.layers for tower in towers)
    in_a_block = 4 * ("attention" in targets) + 2 * ("mlp" in targets)
    wrapped = [name for name in clip.state_dict() if ".lora_A." in name]
    assert len(wrapped) == layers * in_a_block
    assert set(base_names(clip.state_dict())) == names
    described = LoraTuning(4, 8, 0.0, tuple(targets), tuple(towers))
    assert describe_tuning(clip) == Tuning(lora=described)


@BACKBONES
def test_merged_weights_give_the_same_features(build):
    model = TBPSCLIP(build())
    names = set(model.state_dict())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    start = features(model.clip)
    add_lora(model.clip, rank=4, targets=["attention", "mlp"])
    freeze(model, frozen_names(model))
    train_a_little(model)
    tuned = features(model.clip)
    frozen_weights = base_names(model.state_dict())
    assert all(torch.equal(frozen_weights[name], value) for name, value in before.items())
    plain = copy.deepcopy(model)
    merge_lora(plain.clip)
    assert set(plain.state_dict()) == names
    build_again = TBPSCLIP(build())
    build_again.load_state_dict(plain.state_dict())
    assert describe_tuning(plain.clip) == Tuning()
    for merged, apart, first in zip(features(build_again.clip), tuned, start, strict=True):
        torch.testing.assert_close(merged, apart, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(merged, first, atol=1e-2)
    assert features(model.clip)[0].equal(tuned[0])  # the copy alone was merged


@BACKBONES
def test_the_added_branch_is_the_papers(build):
    """W x + alpha / r B A x; eq. 3 with the scale of section 4.1."""
    clip = build()
    add_lora(clip, rank=2, alpha=6)
    layer = clip.visual.transformer.blocks[1].attn.q_proj
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert a.any()
    assert not b.any()
    torch.nn.init.normal_(b)
    x = torch.randn(3, 5, 64)
    torch.testing.assert_close(layer(x), layer.base_layer(x) + 3 * x @ a.T @ b.T)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_it_goes_with_prompts_adapters_and_checkpointing(checkpointing):
    torch.manual_seed(0)
    text = TextShape(48, 3, 2, context_length=24, vocab_size=300)
    clip = CLIP(VISION, text, 32, gradient_checkpointing=checkpointing)
    add_prompts(clip, n_ctx=2, depth=2)
    add_adapters(clip.text, clip.text.shape.width)
    names = {name for name, p in clip.named_parameters() if "prompts" in name or "adapter" in name}
    add_lora(clip, dropout=0.1, towers=["text"])
    assert {name for name, p in clip.named_parameters() if p.requires_grad} >= names
    model = TBPSCLIP(clip)
    freeze(model, frozen_names(model))
    trained = {
        name.removeprefix("clip.") for name, p in model.named_parameters() if p.requires_grad
    }
    assert trained == names | {name for name in clip.state_dict() if ".lora_" in name}
    train_a_little(model)
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert describe_tuning(clip).lora.dropout == 0.1
    again = CLIP(VISION, text, 32)
    tune(again, describe_tuning(clip))
    again.load_state_dict(clip.state_dict())
    pairs = zip(features(again.eval()), features(clip.eval()), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    merge_lora(again)
    torch.testing.assert_close(features(again), features(clip), rtol=1e-5, atol=1e-5)


def test_it_is_made_without_memory():
    with torch.device("meta"):
        clip = small_clip()
        add_lora(clip)
    assert {parameter.device.type for parameter in clip.parameters()} == {"meta"}


def test_a_resnet_has_no_place_for_it():
    shape = ResNetShape(8, (1, 1, 1, 1), heads=4, image_size=(64, 32))
    text = TextShape(48, 1, 2, context_length=20, vocab_size=300)
    with pytest.raises(InputError, match="this image tower is a ResNet"):
        add_lora(CLIP(shape, text, 32))
    clip = CLIP(shape, text, 32)
    add_lora(clip, towers=["text"])
    assert describe_tuning(clip).lora.towers == ("text",)


@BACKBONES
def test_rank_is_at_most_the_width(build):
    with pytest.raises(InputError, match=r"lora.rank is 49: give at most 48, the width"):
        add_lora(build(), rank=49)
    add_lora(build(), rank=48, targets=["attention", "mlp"])
