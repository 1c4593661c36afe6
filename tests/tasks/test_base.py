"""Rates and batches of the recipes, against the published numbers."""

import json

import pytest
import torch

import options
from errors import InputError
from misc.runtime.distributed import Processes
from misc.tasks.base import build_curve, optimizer_of, share_batch
from tests import GOLDEN_FILES

GOLDEN = json.loads((GOLDEN_FILES / "schedules_clipreid.json").read_text())
STEPS = 7  # of an epoch


def configure(recipe: str, *words: str) -> options.Config:
    return options.parse(["--config", str(options.RECIPES / recipe), *words]).configure()


@pytest.mark.parametrize("stage", [0, 1])
def test_the_recipe_has_the_published_rates(stage):
    config = configure("clipreid_vit.yaml")
    schedule = config.stage_schedule(config.stages[stage])
    expected = GOLDEN[f"vit_clipreid_stage{stage + 1}"]["lr_used_in_epoch_1_to_N"]
    assert schedule.epoch == len(expected)
    curve = build_curve(schedule, STEPS)
    rates = [curve(step) for step in range(STEPS * schedule.epoch)]
    assert rates == pytest.approx([rate for rate in expected for _ in range(STEPS)], rel=1e-9)


def test_the_text_recipe_rises_and_falls_by_steps():
    curve = build_curve(configure("config.yaml").schedule, STEPS)
    rates = [curve(step) for step in range(5 * STEPS)]
    assert rates[0] == 1e-6
    assert rates[STEPS - 1] == rates[STEPS] == max(rates) == 1e-4
    assert rates[STEPS:] == sorted(rates[STEPS:], reverse=True)


def test_the_optimizers_are_the_published_ones():
    model = torch.nn.Linear(2, 2)
    config = configure("clipreid_cnn.yaml")
    schedule = config.stage_schedule(config.stages[1])
    optimizer = optimizer_of(model, schedule, new_parameters=("weight",))
    assert type(optimizer) is torch.optim.Adam
    groups = [(g["weight_decay"], g["factor"], g["betas"]) for g in optimizer.param_groups]
    assert groups == [(5e-4, 1.0, (0.9, 0.999)), (5e-4, 2.0, (0.9, 0.999))]
    assert type(optimizer_of(model, configure("config.yaml").schedule, ())) is torch.optim.AdamW


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_a_batch_is_shared(processes):
    own = Processes(0, processes, torch.device("cpu"))
    assert share_batch(configure("clipreid_vit.yaml"), own) == 64 // processes
    assert share_batch(configure("config.yaml"), own) == 80
    recipe = configure("vehicleid/clipreid_vit.yaml")
    assert share_batch(recipe, own, recipe.stages[0].global_batch_size) == 256 // processes
    with pytest.raises(InputError, match=r"a batch of 64 .* cannot be shared by 3 processes"):
        share_batch(configure("clipreid_vit.yaml"), Processes(0, 3, torch.device("cpu")))


PUBLISHED = {  # stage 1: epochs, batch; stage 2: epochs, rate; weight of id, smoothing
    "clipreid_vit.yaml": (120, None, 60, 5e-6, 0.25, 0.1),
    "clipreid_vit_sie_olp.yaml": (120, None, 60, 5e-6, 0.25, 0.1),
    "clipreid_cnn.yaml": (60, None, 120, 3.5e-4, 1.0, 0.1),
    "baseline_vit.yaml": (None, None, 60, 5e-6, 1.0, 0.1),
    "baseline_cnn.yaml": (None, None, 120, 3.5e-4, 1.0, 0.1),
    "veri776/clipreid_vit.yaml": (60, None, 60, 5e-6, 0.25, 0.1),
    "veri776/clipreid_vit_sie_olp.yaml": (60, None, 60, 5e-6, 0.25, 0.1),
    "veri776/clipreid_cnn.yaml": (60, None, 120, 3.5e-4, 1.0, 0.1),
    "veri776/baseline_vit.yaml": (None, None, 60, 5e-6, 1.0, 0.1),
    "veri776/baseline_cnn.yaml": (None, None, 120, 3.5e-4, 1.0, 0.1),
    "vehicleid/clipreid_vit.yaml": (60, 256, 60, 5e-5, 0.25, 0.1),
    "vehicleid/clipreid_cnn.yaml": (60, 256, 120, 3.5e-4, 1.0, 0.0),
    "vehicleid/baseline_vit.yaml": (None, None, 60, 5e-5, 1.0, 0.0),
    "vehicleid/baseline_cnn.yaml": (None, None, 120, 3.5e-4, 1.0, 0.0),
}


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_a_recipe_of_re_identification_has_the_published_values(recipe):
    config = configure(recipe)
    first, second = config.stages
    epochs = None if first.skip else config.stage_schedule(first).epoch
    schedule = config.stage_schedule(second)
    assert (
        epochs,
        None if first.skip else first.global_batch_size,
        schedule.epoch,
        schedule.lr,
        config.reid.id_ratio,
        config.reid.smoothing,
    ) == PUBLISHED[recipe]
    assert schedule.warmup_factor == (0.01 if "cnn" in recipe else 0.1)
    assert schedule.milestones == ((40, 70) if "cnn" in recipe else (30, 50))
    assert schedule.weight_decay == (5e-4 if "cnn" in recipe else 1e-4)
    assert config.reid.i2t is ("baseline" not in recipe)
    vehicles = "/" in recipe
    assert config.reid.noun == ("vehicle" if vehicles else "person")
    assert config.data.image_size == (256, 256 if vehicles else 128)
    assert (config.reid.sie, config.model.stride) == (
        ("both", 12) if "olp" in recipe else ("none", None)
    )
    drops = recipe == "veri776/clipreid_vit_sie_olp.yaml"  # the only set and recipe with views
    assert config.reid.unlabelled_views == ("drop" if drops else "keep")


def test_every_recipe_of_re_identification_is_held():
    recipes = {str(file.relative_to(options.RECIPES)) for file in options.RECIPES.rglob("*.yaml")}
    of_pictures = {name for name in recipes if "clipreid" in name or "baseline" in name}
    assert of_pictures == PUBLISHED.keys()
