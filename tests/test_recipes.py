"""Every recipe trains, with towers of one block."""

import json
import math

import pytest

import main
import options
from tests.altclip_folders import write_altclip_folder
from tests.conftest import SMALL


@pytest.mark.parametrize(
    "recipe", sorted(options.RECIPES.glob("*.yaml")), ids=lambda file: file.stem
)
def test_a_recipe_trains_and_evaluates(recipe, places, tmp_path):
    few = ("schedule.epoch=1", "log.print_period=1", "model.clip_pretrained=null")
    if recipe.stem == "altclip":
        folder = write_altclip_folder(tmp_path / "altclip", embed_dim=16)
        few += (f"model.altclip_pretrained={folder}", "model.projection_dim=16")
    arguments = ["--config", str(recipe), "--output", str(tmp_path), *SMALL, *places, *few]
    main.run(options.parse(arguments))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) >= 2
    assert all(math.isfinite(loss) for loss in losses)
    assert rows[-1]["split"] == "test"
