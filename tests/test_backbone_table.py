"""The table of docs/backbones.md against the registry, the recipes and open_clip."""

from functools import partial

import open_clip
import pytest
import torch
from PIL.Image import Resampling
from transformers import (
    AltCLIPConfig,
    AutoModel,
    ChineseCLIPConfig,
    CLIPConfig,
    Siglip2Config,
    SiglipConfig,
    XLMRobertaConfig,
)

import options
from errors import InputError
from misc.data.transforms import statistics
from misc.tasks.text.data import RESAMPLING
from misc.tasks.text.task import without_masked_words
from model.backbone_loader import Preprocessing
from model.backbones import KINDS, load_backbone, recognise
from model.clip import PIXEL_MEAN, PIXEL_STD, DualEncoder
from model.open_clip import build_open_clip
from model.recognition import is_plain_clip, split_open_clip_name
from model.tuning.bidirectional_prompts import BidirectionalPrompts
from model.tuning.description import AdapterTuning, LoraTuning, PromptTuning, Tuning
from model.tuning.tune import tune
from tests import ROOT
from tests.altclip_folders import write_altclip_folder
from tests.backbone_folders import (
    write_chinese_clip_folder,
    write_open_clip_folder,
    write_siglip_folder,
)

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
FOLDERS = {
    "clip": partial(write_open_clip_folder, family="bigg"),
    "altclip": write_altclip_folder,
    "chinese-clip": write_chinese_clip_folder,
    "siglip": write_siglip_folder,
    "siglip2-naflex": partial(write_siglip_folder, kind="naflex"),
    "open_clip": partial(write_open_clip_folder, family="pooled"),
}


def test_every_kind_is_in_both_tables():
    assert {row["model.backbone"] for row in SOURCES} == set(KINDS)
    assert [row["`model.backbone`"] for row in rows("`model.backbone`")] == [
        *("clip", "altclip", "chinese-clip", "siglip", "siglip2-naflex", "open_clip")
    ]


@pytest.mark.parametrize("row", rows("`model.backbone`"), ids=lambda row: row["`model.backbone`"])
def test_a_kind_can_do_what_the_table_says(row, tmp_path):
    """Tried on a small model of the kind."""
    kind = KINDS[row["`model.backbone`"]]
    FOLDERS[kind.name](tmp_path)

    def load() -> DualEncoder:
        return load_backbone(tmp_path).model

    assert recognise(str(tmp_path)) in (kind, None if kind.name == "clip" else kind)
    words = row["masked words, changed tokens"]
    assert (words == "yes") is kind.masks_words
    assert (words == "with CLIP's vocabulary") is kind.words_by_source
    assert (row["second embedding"] != "no") is load().shows_attention is kind.shows_attention
    assert (row["sigmoid"] != "no") is (load().logit_bias is not None)
    assert row["prompts"] == _prompts(load())
    adapters = AdapterTuning(reduction=2)
    each = {"image_adapters": adapters}, {"text_adapters": adapters}, {"lora": LoraTuning(rank=2)}
    can = [_tunes(load(), Tuning(**words)) for words in each]
    assert can == [row["adapters"] == "yes"] * 2 + [row["LoRA"] == "yes"]
    length = f"up to {kind.longest_text}, interpolated" if kind.resizes_text else "its own"
    assert row["tokens"] == length


def _tunes(clip: DualEncoder, tuning: Tuning) -> bool:
    try:
        tune(clip, tuning)
    except InputError:
        return False
    return True


def _prompts(clip: DualEncoder) -> str:
    """The words of the table about its prompts."""
    if not _tunes(clip, Tuning(prompts=PromptTuning(2, 1, "independent"))):
        return "no"
    assert isinstance(clip.prompts, BidirectionalPrompts)
    return "image tower" if clip.prompts.text is None else "yes"


# config.yaml has the statistics of TBPS-CLIP's code, not of CLIP.
DELTAS = [row for row in SOURCES if row["recipe"] not in ("", "config.yaml")]


@pytest.mark.parametrize("row", DELTAS, ids=lambda row: row["source"])
def test_a_recipe_prepares_pictures_as_its_weights_were(row):
    kind = recognise(row["source"]) or KINDS["clip"]
    if row["source"].startswith("open_clip:"):
        expected = kind.loader().read_preprocessing(row["source"], None)
    elif kind.name in ("clip", "altclip"):  # AltCLIP's image tower began as CLIP's
        expected = Preprocessing(PIXEL_MEAN, PIXEL_STD, Resampling.BICUBIC)
    else:
        expected = kind.loader().published
    words = ["--config", str(options.RECIPES / row["recipe"])]
    data = options.parse(words).configure().data
    assert statistics(data.normalize) == (expected.mean, expected.std)
    assert RESAMPLING[data.test_resampling] == expected.resampling


@pytest.mark.parametrize("row", DELTAS, ids=lambda row: row["source"])
def test_a_method_and_the_recipe_of_a_backbone_are_two_bases(row, tmp_path):
    assert "base: [irra.yaml, mobileclip2.yaml]" in PAGE
    names = ("irra.yaml", row["recipe"])
    bases = [str(options.RECIPES / name) for name in names]
    (tmp_path / "both.yaml").write_text(f"base: {bases}")
    method, backbone, both = (
        options.parse(["--config", file]).configure()
        for file in (*bases, str(tmp_path / "both.yaml"))
    )
    assert both.experiment.loss_weights() == method.experiment.loss_weights()
    assert both.schedule == method.schedule
    assert both.data.normalize == backbone.data.normalize
    assert both.data.image_size == backbone.data.image_size
    own = both.model.backbone, both.model.source
    assert own == (backbone.model.backbone, backbone.model.source)


METHODS = ("config.yaml", "s.config.yaml", "irra.yaml", "rde.yaml")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_every_backbone(method, name):
    words = ["--config", str(options.RECIPES / method), "--backbone", name]
    sources = ["model.clip_pretrained=x", "model.altclip_pretrained=x"]
    config = options.parse([*words, *sources]).configure()
    alone = options.parse(words[:2]).configure()
    assert config.model.backbone == name
    losses = config.experiment.loss_weights()
    assert losses == alone.experiment.loss_weights()
    second = method == "rde.yaml" and name == "clip"
    assert (config.model.token_selection is not None) is second
    assert config.experiment.token_change == (0.2 if second else 0)
    config, warning = without_masked_words(config)
    assert ("mlm" in config.experiment.loss_weights()) is ("mlm" in losses and not warning)
    if method == "rde.yaml" and name != "clip":
        asked = "model.token_selection={embed_dim: 8, ratio: 0.3}"
        with pytest.raises(InputError, match=f"clip, but that is {name}"):
            options.parse([*words, *sources, asked]).configure()


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
    body = None
    if "hf_model_name" in config["text_cfg"]:  # described on the hub
        body = XLMRobertaConfig(**XLM_ROBERTA).to_dict()
    else:
        assert config["text_cfg"]["context_length"] == int(row["tokens"])
    plain = is_plain_clip(config)
    with torch.device("meta"):
        model = open_clip.CLIP(**config) if plain else build_open_clip(config, body)
    assert count_millions(model) == int(row["parameters, M"])


def count_millions(model: torch.nn.Module) -> int:
    return round(sum(parameter.numel() for parameter in model.parameters()) / 1e6)


# Sizes in the config.json of the weights, where they are not the defaults of transformers.
XLM_ROBERTA = {"vocab_size": 250002, "max_position_embeddings": 514, "type_vocab_size": 1}
LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
LARGE |= {"num_attention_heads": 16}
GEMMA = {"text_config": {"vocab_size": 256000}}
ALTCLIP = {
    "text_config": {**XLM_ROBERTA, **LARGE, "project_dim": 768},
    "vision_config": {**LARGE, "patch_size": 14, "projection_dim": 768},
    "projection_dim": 768,
}
PUBLISHED = {
    "hf:openai/clip-vit-base-patch16": CLIPConfig(
        text_config={"vocab_size": 49408}, vision_config={"patch_size": 16}
    ),
    "hf:BAAI/AltCLIP": AltCLIPConfig(**ALTCLIP),
    "hf:BAAI/AltCLIP-m9": AltCLIPConfig(**ALTCLIP),
    "hf:OFA-Sys/chinese-clip-vit-base-patch16": ChineseCLIPConfig(
        text_config={"vocab_size": 21128}, vision_config={"patch_size": 16}
    ),
    "hf:google/siglip-base-patch16-224": SiglipConfig(),
    "hf:google/siglip2-base-patch16-224": SiglipConfig(**GEMMA),
    "hf:google/siglip2-base-patch16-naflex": Siglip2Config(**GEMMA),
}


@pytest.mark.parametrize("source", PUBLISHED)
def test_parameters_are_those_of_the_published_configuration(source):
    (row,) = [row for row in SOURCES if row["source"] == source]
    with torch.device("meta"):
        model = AutoModel.from_config(PUBLISHED[source])
    assert count_millions(model) == int(row["parameters, M"])
    tokens = PUBLISHED[source].text_config.max_position_embeddings
    assert int(row["tokens"].split()[0]) == (512 if tokens == 514 else tokens)


def test_every_cell_is_filled_and_every_count_is_tested():
    assert [row["source"] for row in SOURCES if not all(row.values())] == []
    others = {row["source"] for row in SOURCES if not row["source"].startswith("open_clip:")}
    assert others - PUBLISHED.keys() == {"hf:BAAI/AltCLIP-m18"}  # whose sizes are not known here
