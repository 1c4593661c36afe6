"""Every recipe trains, with towers of one block."""

import json
import math
from functools import partial
from pathlib import Path

import pytest

import main
import options
from misc.synthetic.writing import write_reid_dataset
from tests.altclip_folders import write_altclip_folder
from tests.backbone_folders import (
    write_chinese_clip_folder,
    write_open_clip_folder,
    write_siglip_folder,
)
from tests.command_line import parse
from tests.conftest import SMALL

RECIPES = sorted(
    str(file.relative_to(options.RECIPES))
    for file in options.RECIPES.rglob("*.yaml")
    if file.name != "dataset.yaml"
)
FEW = ("schedule.epoch=1", "log.print_period=1", "model.clip_pretrained=null")
FEW_REID = (
    "data.global_batch_size=8",
    "stages.prompts={global_batch_size: 8, schedule: {epoch: 1, epoch_warmup: 1}}",
    "stages.images.schedule={epoch: 1, epoch_warmup: 1}",
    "evaluation={rerank: {k1: 4, k2: 2, weight: 0.3}, ranked_lists: 1}",
)
OPEN_CLIP = ("open_clip.yaml", "mobileclip2.yaml", "pe.yaml", "xlm_roberta.yaml")
FAMILIES = {
    "siglip.yaml": write_siglip_folder,
    "chinese_clip.yaml": write_chinese_clip_folder,
    **dict.fromkeys(OPEN_CLIP, partial(write_open_clip_folder, family="pooled")),
}
RESNET = ("model.vision={width: 4, layers: [1, 1, 1, 1], heads: 2, patch_size: null}",)


@pytest.fixture(scope="module")
def vehicles_and_people(tmp_path_factory) -> Path:
    """Some layouts of re-identification in miniature."""
    folder = tmp_path_factory.mktemp("reid")
    for layout in ("market1501", "veri776", "vehicleid"):
        people = {"train": 6, "test": 3}
        write_reid_dataset(layout, folder, identities=people, images=(4, 4), height=(32, 48))
    return folder


def train(*arguments: str, output: Path) -> list[dict]:
    """The rows of the record of a run of main.py."""
    main.run(parse([*arguments, "--output", str(output)]))
    return [json.loads(line) for line in (output / "metrics.jsonl").open()]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_and_evaluates(recipe, places, vehicles_and_people, tmp_path):
    recipe_file = str(options.RECIPES / recipe)
    task = parse(["--config", recipe_file]).configure().task
    arguments = ("--config", recipe_file, *SMALL, *FEW)
    if task == "image_to_image":
        arguments += ("schedule.epoch=2", *FEW_REID, f"reid.root={vehicles_and_people}")
        if "cnn" in recipe:
            arguments += RESNET
        if "olp" in recipe:
            arguments += ("model.stride=4",)
    else:
        arguments += places
    if task == "both":
        sizes = ("data.global_batch_size=8", "schedule.epoch_warmup=1")
        arguments += (*sizes, f"reid.root={vehicles_and_people}")
    if recipe == "both_prompts.yaml":
        arguments += ("stages.prompts.schedule={epoch: 1, epoch_warmup: 1}",)
    if recipe in ("cskt.yaml", "irra.yaml", "rde.yaml"):
        arguments += ("schedule.epoch_warmup=1", "data.global_batch_size=null")
    if recipe == "cskt.yaml":
        arguments += ("prompts.depth=1",)
    if recipe.startswith("altclip"):
        folder = write_altclip_folder(tmp_path / "altclip", embed_dim=16)
        arguments += (f"model.altclip_pretrained={folder}", "model.projection_dim=16")
    if recipe in FAMILIES:
        FAMILIES[recipe](tmp_path / "weights")
        sizes = ("model.embed_dim=32", "experiment.simclr_mlp=[32, 8, 32]")
        arguments += (f"model.clip_pretrained={tmp_path / 'weights'}", *sizes)
    rows = train(*arguments, output=tmp_path)
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) >= 2
    assert all(math.isfinite(loss) for loss in losses)
    assert rows[-1]["split"] == "test"
