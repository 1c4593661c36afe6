import json
import math

import pytest
import torch
from torch import nn

from misc.optim import (
    build_optimizer,
    freeze,
    layer_factors,
    warmup_cosine,
    warmup_cosine_by_epoch,
    warmup_multistep,
    warmup_then_cosine,
)
from misc.tasks.base import optimizer_of
from model.clip import CLIP, TextShape
from model.heads import Classifier, MaskedLanguageDecoder, SelectionShape
from model.resnet import ResNetShape
from model.tbps_clip import NEW_PARAMETERS, NEW_WEIGHTS, TBPSCLIP, build_selectors
from model.vit import VisionShape, VisionTransformer
from model.weights.key_maps import rename
from model.weights.published.irra import IRRA
from tests import GOLDEN_FILES
from tests.command_line import configure

GOLDEN = json.loads((GOLDEN_FILES / "schedules_tbps.json").read_text())
REID = json.loads((GOLDEN_FILES / "schedules_clipreid.json").read_text())


@pytest.mark.parametrize("case", GOLDEN)
def test_rates_are_the_published_ones(case):
    settings = GOLDEN[case]["settings"]
    steps = settings["niter_per_ep"]
    rates = [
        warmup_cosine(
            step,
            total=settings["epoch"] * steps,
            warmup=settings["epoch_warmup"] * steps,
            base=settings["lr"],
            start=settings["lr_start"],
            end=settings["lr_end"],
        )
        for step in range(settings["epoch"] * steps)
    ]
    assert rates == pytest.approx(GOLDEN[case]["lr_per_iteration"], rel=1e-12)


def test_without_warmup_the_cosine_begins_at_once():
    assert warmup_cosine(0, total=4, warmup=0, base=1.0, start=0.1, end=0.0) == 1.0
    assert warmup_cosine(2, total=4, warmup=0, base=1.0, start=0.1, end=0.0) == pytest.approx(0.5)


def test_one_step_of_warmup_starts_low():
    assert warmup_cosine(0, total=4, warmup=1, base=1.0, start=0.1, end=0.0) == 0.1


def test_rates_of_clip_reids_first_stage_are_the_published_ones():
    case = REID["vit_clipreid_stage1"]
    settings, expected = case["settings"], case["lr_used_in_epoch_1_to_N"]
    rates = [
        warmup_then_cosine(
            epoch,
            total=settings["max_epochs"],
            warmup=settings["warmup_epochs"],
            base=settings["base_lr"],
            start=settings["warmup_lr_init"],
            end=settings["lr_min"],
        )
        for epoch in range(1, settings["max_epochs"] + 1)
    ]
    assert rates == pytest.approx(expected, rel=1e-9)


def test_rates_of_clip_reids_second_stage_are_the_published_ones():
    case = REID["vit_clipreid_stage2"]
    settings, expected = case["settings"], case["lr_used_in_epoch_1_to_N"]
    rates = [
        warmup_multistep(
            epoch,
            settings["base_lr"],
            settings["steps"],
            settings["gamma"],
            settings["warmup_iters"],
            settings["warmup_factor"],
        )
        for epoch in range(1, settings["max_epochs"] + 1)
    ]
    assert rates == pytest.approx(expected, rel=1e-9)


def test_irras_rates_rise_until_the_epoch_after_the_warmup():
    rates = [warmup_cosine_by_epoch(epoch, 60, 5, 1e-5, 1e-6, 0.0) for epoch in range(60)]
    assert rates[:6] == pytest.approx([1e-6, 2.8e-6, 4.6e-6, 6.4e-6, 8.2e-6, 1e-5])
    falling = [0.5e-5 * (1 + math.cos(math.pi * (epoch - 5) / 55)) for epoch in range(5, 60)]
    assert rates[5:] == pytest.approx(falling)


def test_a_staircase_without_warmup_begins_at_its_top():
    rates = [warmup_multistep(epoch, 1.0, (2, 4), 0.5, 0, 0.1) for epoch in range(1, 6)]
    assert rates == [1.0, 0.5, 0.5, 0.25, 0.25]


ADAMW = {"lr": 1e-3, "betas": (0.9, 0.98), "eps": 1e-8, "weight_decay": 0.02}


@pytest.fixture
def model() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2, bias=False))
    model.logit_scale = nn.Parameter(torch.tensor(1.0))
    return model


def test_only_matrices_decay(model):
    optimizer = build_optimizer(model, "adamw", **ADAMW)
    decay = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    assert decay == {id(p): 0.02 if p.ndim >= 2 else 0.0 for p in model.parameters()}
    assert len(optimizer.param_groups) == 2
    assert optimizer.defaults["fused"]


def test_what_decays_is_a_choice(model):
    def decayed(kind):
        optimizer = build_optimizer(model, "adam", **ADAMW, decayed=kind)
        found = {id(p) for g in optimizer.param_groups for p in g["params"] if g["weight_decay"]}
        return {name for name, p in model.named_parameters() if id(p) in found}

    names = {name for name, _ in model.named_parameters()}
    assert decayed("all") == names
    assert decayed("weights") == {name for name in names if not name.endswith("bias")}


def test_frozen_parameters_are_left_out_and_can_be_freed_again(model):
    freeze(model, ("0.", "logit"))
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == {
        "0.weight",
        "0.bias",
        "logit_scale",
    }
    trained = build_optimizer(model, "adamw", **ADAMW)
    assert sum(len(group["params"]) for group in trained.param_groups) == 3
    freeze(model, ())
    assert all(p.requires_grad for p in model.parameters())


def test_freezing_what_is_not_there_is_an_error(model):
    with pytest.raises(ValueError, match=r"'visual\.conv'"):
        freeze(model, ("visual.conv",))


def test_new_parameters_train_at_a_multiple_of_the_rate(model):
    optimizer = build_optimizer(model, "adamw", **ADAMW, fast=("2.",), factor=5)
    factors = {id(p): g["factor"] for g in optimizer.param_groups for p in g["params"]}
    expected = {id(p): 5 if n.startswith("2.") else 1 for n, p in model.named_parameters()}
    assert factors == expected


def test_adam_is_torchs_with_biases_at_twice_the_rate(model):
    """Three steps against Adam on each tensor by itself."""
    freeze(model, ("logit",))
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = build_optimizer(
        model,
        "adam",
        lr=1e-2,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.1,
        decayed="all",
        bias_factor=2.0,
    )
    gradients = {n: torch.randn(3, *p.shape) for n, p in model.named_parameters()}
    for step in range(3):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * group["factor"]
        for name, parameter in model.named_parameters():
            parameter.grad = gradients[name][step] if parameter.requires_grad else None
        optimizer.step()
    for name, parameter in model.named_parameters():
        alone = nn.Parameter(start[name])
        lr = {"0.bias": 2e-2, "1.bias": 2e-2, "logit_scale": 0.0}.get(name, 1e-2)
        reference = torch.optim.Adam([alone], lr=lr, weight_decay=0.1)
        for gradient in gradients[name]:
            alone.grad = gradient
            reference.step()
        torch.testing.assert_close(parameter, alone)
    assert len(optimizer.param_groups) == 2


def irra_rule(name: str) -> float:
    """The multiple of the rate by a name in IRRA's code, where a later line overrules."""
    factor = 5.0 if "cross" in name else 1.0
    if "bias" in name:
        factor = 2.0
    return 5.0 if "classifier" in name or "mlm_head" in name else factor


@pytest.mark.parametrize("recipe", ["irra.yaml", "rde.yaml", "config.yaml"])
def test_each_recipe_has_the_rates_of_its_code(recipe):
    vision = VisionShape(64, 1, 1, patch_size=8, stride=8, image_size=(16, 8))
    clip = CLIP(vision, TextShape(64, 1, 1, context_length=8, vocab_size=20), embed_dim=64)
    decoder = MaskedLanguageDecoder(64, 1, 1, 20)
    classifier = Classifier(64, 3)
    selectors = build_selectors(clip, SelectionShape(8))
    model = TBPSCLIP(clip, classifier=classifier, mlm_decoder=decoder, selectors=selectors)
    schedule = configure("--config", f"config/{recipe}").schedule
    optimizer = optimizer_of(model, schedule, NEW_PARAMETERS, NEW_WEIGHTS)
    factors = {id(p): g["factor"] for g in optimizer.param_groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        theirs = rename(name, IRRA)
        if "selector" in name:
            expected = {"rde.yaml": 1e-3 / 1e-5}.get(recipe, 5.0)
        elif recipe == "config.yaml":
            is_new = any(part in theirs for part in ("cross", "classifier", "mlm_head"))
            expected = 5.0 if is_new else 1.0
        else:
            expected = irra_rule(theirs)
            if recipe == "rde.yaml" and expected == 5.0:
                continue  # it has no such modules
        assert factors[id(parameter)] == pytest.approx(expected), name


def test_rates_fall_with_the_blocks_above():
    """Two blocks in one tower, one in the other."""
    vision = VisionShape(16, 2, 2, patch_size=8, stride=8, image_size=(16, 8))
    clip = CLIP(vision, TextShape(16, 1, 2, context_length=8, vocab_size=20), embed_dim=8)
    model = nn.ModuleDict({"clip": clip, "classifier": nn.Linear(8, 3)})
    factors = layer_factors(model, 0.5)
    assert factors.keys() == dict(model.named_parameters()).keys()
    assert factors["clip.visual.conv1.weight"] == 0.5**3
    assert factors["clip.visual.transformer.blocks.0.ln_1.weight"] == 0.5**2
    assert factors["clip.visual.transformer.blocks.1.mlp.c_fc.bias"] == 0.5
    assert factors["clip.text.token_embedding.weight"] == 0.5**2
    assert factors["clip.text.transformer.blocks.0.attn.q_proj.weight"] == 0.5
    others = ("visual.ln_post.weight", "visual.proj", "text.ln_final.bias", "logit_scale")
    assert {factors[f"clip.{name}"] for name in others} == {1.0}
    assert factors["classifier.weight"] == 1.0
    optimizer = build_optimizer(
        model,
        "adamw",
        **ADAMW,
        fast=("classifier",),
        factor=5.0,
        layer_decay=0.5,
    )
    assert {group["factor"] for group in optimizer.param_groups} == {0.125, 0.25, 0.5, 1.0, 5.0}


def test_rates_fall_from_stage_to_stage_of_a_resnet():
    vision = ResNetShape(8, (1, 2, 1, 1), 4, image_size=(32, 32))
    clip = CLIP(vision, TextShape(16, 1, 2, context_length=8, vocab_size=20), embed_dim=8)
    factors = layer_factors(nn.ModuleDict({"clip": clip}), 0.5)
    for name in ("conv1.weight", "bn1.bias", "conv3.weight", "bn3.weight"):
        assert factors[f"clip.visual.{name}"] == 0.5**5
    assert factors["clip.visual.layer1.0.conv1.weight"] == 0.5**4
    for block in (0, 1):
        assert factors[f"clip.visual.layer2.{block}.bn2.bias"] == 0.5**3
    assert factors["clip.visual.layer4.0.downsample.0.weight"] == 0.5
    for name in ("positional_embedding", "q_proj.bias", "c_proj.weight"):
        assert factors[f"clip.visual.attnpool.{name}"] == 1.0
    assert factors["clip.text.token_embedding.weight"] == 0.5**2


def test_the_second_class_token_is_an_embedding_of_its_tower():
    visual = VisionTransformer(VisionShape(8, 2, 1, 8, 8, (16, 8), class_tokens=2), 4)
    factors = layer_factors(nn.ModuleDict({"visual": visual}), 0.5)
    assert factors["visual.second_class"] == factors["visual.class_embedding"] == 0.125
