import json
from pathlib import Path

import pytest
import torch
from torch import nn

from misc.optim import build_adamw, freeze, warmup_cosine

GOLDEN = json.loads((Path(__file__).parent / "golden" / "schedules_tbps.json").read_text())


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


@pytest.fixture
def model() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2, bias=False))
    model.logit_scale = nn.Parameter(torch.tensor(1.0))
    return model


def test_only_matrices_decay(model):
    optimizer = build_adamw(model, 1e-3, (0.9, 0.98), 1e-8, weight_decay=0.02)
    decay = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    assert decay == {id(p): 0.02 if p.ndim >= 2 else 0.0 for p in model.parameters()}
    assert len(optimizer.param_groups) == 2
    assert optimizer.defaults["fused"]


def test_frozen_parameters_are_left_out_and_can_be_freed_again(model):
    freeze(model, ("0.", "logit"))
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == {
        "0.weight",
        "0.bias",
        "logit_scale",
    }
    trained = build_adamw(model, 1e-3, (0.9, 0.98), 1e-8, 0.02)
    assert sum(len(group["params"]) for group in trained.param_groups) == 3
    freeze(model, ())
    assert all(p.requires_grad for p in model.parameters())


def test_freezing_what_is_not_there_is_an_error(model):
    with pytest.raises(ValueError, match=r"'visual\.conv'"):
        freeze(model, ("visual.conv",))


def test_new_parameters_train_at_a_multiple_of_the_rate(model):
    optimizer = build_adamw(model, 1e-3, (0.9, 0.98), 1e-8, 0.02, fast=("2.",), factor=5)
    factors = {id(p): g["factor"] for g in optimizer.param_groups for p in g["params"]}
    expected = {id(p): 5 if n.startswith("2.") else 1 for n, p in model.named_parameters()}
    assert factors == expected
