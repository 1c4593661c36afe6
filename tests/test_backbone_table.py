"""The table of docs/backbones.md against the registry, the recipes and open_clip."""

import open_clip
import pytest
import torch

import options
from model.backbones import KINDS, recognise
from model.recognition import is_plain_clip, split_open_clip_name
from tests import ROOT

PAGE = (ROOT / "docs" / "backbones.md").read_text(encoding="utf-8")


def rows(first: str) -> list[dict[str, str]]:
    """The rows of the table whose first column has this title."""
    lines = PAGE.split(f"\n| {first} |")[1].splitlines()
    titles = [first, *(title.strip(" `") for title in lines[0].strip("|").split("|"))]
    found = []
    for line in lines[2:]:
        if not line.startswith("|"):
            break
        cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
        found.append(dict(zip(titles, cells, strict=True)))
    return found


SOURCES = rows("source")


def test_every_kind_is_in_both_tables():
    assert {row["model.backbone"] for row in SOURCES} == set(KINDS)
    assert [row["`model.backbone`"] for row in rows("`model.backbone`")] == [
        *("clip", "altclip", "chinese-clip", "siglip", "siglip2-naflex", "open_clip")
    ]
    for row in rows("`model.backbone`"):
        assert (row["masked words"] == "yes") is KINDS[row["`model.backbone`"]].masks_words


@pytest.mark.parametrize("row", SOURCES, ids=lambda row: row["source"])
def test_a_source_is_of_its_kind(row):
    kind = recognise(row["source"])
    assert ("clip" if kind is None else kind.name) == row["model.backbone"]


@pytest.mark.parametrize("row", [r for r in SOURCES if r["recipe"]], ids=lambda row: row["source"])
def test_a_recipe_has_the_sizes_of_its_weights(row):
    config = options.parse(["--config", str(options.RECIPES / row["recipe"])]).configure()
    assert config.model.backbone == row["model.backbone"] or "naflex" in row["source"]
    assert config.model.embed_dim == int(row["embedding"])
    assert config.experiment.text_length <= int(row["tokens"].split()[0])
    assert config.experiment.simclr_mlp[0] == int(row["embedding"])
    lines = (options.RECIPES / row["recipe"]).read_text().splitlines()
    assert row["recipe"] == "config.yaml" or len(lines) <= 20


@pytest.mark.parametrize(
    "row", [r for r in SOURCES if r["source"].startswith("open_clip:")], ids=lambda r: r["source"]
)
def test_numbers_are_those_of_open_clip(row):
    arch, tag = split_open_clip_name(row["source"])
    assert tag in open_clip.list_pretrained_tags_by_model(arch)
    config = open_clip.get_model_config(arch)
    assert config["embed_dim"] == int(row["embedding"])
    if row["recipe"]:
        recipe = options.parse(["--config", str(options.RECIPES / row["recipe"])]).configure()
        assert recipe.model.clip_pretrained == row["source"]
        assert set(recipe.data.image_size) == {config["vision_cfg"]["image_size"]}
    if "hf_model_name" in config["text_cfg"]:
        return  # its text tower is described on the hub
    assert config["text_cfg"]["context_length"] == int(row["tokens"])
    plain = is_plain_clip(config)
    config.pop("custom_text", None)
    with torch.device("meta"):
        model = (open_clip.CLIP if plain else open_clip.CustomTextCLIP)(**config)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert round(count / 1e6) == int(row["parameters, M"])
