"""Families of backbones against the libraries that their weights come from."""

import json
from dataclasses import astuple

import open_clip
import pytest
import torch
from numpy.testing import assert_allclose
from PIL.Image import Resampling
from transformers import AutoTokenizer

from errors import InputError
from misc.optim import freeze, layer_factors
from misc.tasks.text.model import build_tbps_clip
from model.backbone_loader import TowerOptions
from model.backbones import find_kind, load_backbone, recognise
from model.batch_norm import BatchNorm
from model.clip import CLIP, PIXEL_MEAN
from model.configured import ConfiguredShape, ConfiguredTextShape
from model.open_clip import OpenCLIP, build_open_clip
from tests.backbone_folders import (
    OPEN_CLIP,
    TEXT,
    write_chinese_clip_folder,
    write_open_clip_folder,
    write_siglip_folder,
)
from tests.command_line import configure
from text_utils.tokenizer import ClipTokenizer

CAPTIONS = ["a man wearing a blue coat", "红色上衣的女生", "a woman " * 20]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(rows, columns):
    return torch.randn(2, 3, rows, columns, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["siglip", "siglip2"])
def test_siglip_has_the_features_of_transformers(tmp_path, kind):
    reference = write_siglip_folder(tmp_path, kind)
    backbone = load_backbone(tmp_path)
    clip, tokenizer = backbone.model, backbone.tokenizer
    assert (backbone.mean, backbone.image_size) == ((0.5, 0.5, 0.5), (32, 32))
    pictures = images(32, 32)
    expected = reference.get_image_features(pictures).pooler_output
    assert_allclose(clip.encode_image(pictures), expected, atol=1e-5)
    pooled, dense = clip.encode_image(pictures, dense=True)
    assert_allclose(pooled, expected, atol=1e-5)
    assert_allclose(dense, reference.vision_model(pictures).last_hidden_state, atol=1e-5)
    tokens = tokenizer(CAPTIONS, 64)
    own = AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=False)
    settings = {"padding": "max_length", "max_length": 64, "truncation": True}
    assert torch.equal(tokens, own(CAPTIONS, return_tensors="pt", **settings)["input_ids"])
    assert torch.equal(tokenizer.trim(tokens), tokens)
    assert tokenizer.lengths(tokens).tolist() == [26, 8, 64]
    expected = reference.get_text_features(tokens).pooler_output
    assert_allclose(clip.encode_text(tokens), expected, atol=1e-5)
    assert_allclose(clip.encode_text(tokens, dense=True)[1][:, -1], expected, atol=1e-5)
    assert clip.logit_scale.item() == pytest.approx(4.7)
    assert clip.logit_bias.item() == pytest.approx(-12.9)


@torch.no_grad()
@pytest.mark.parametrize("size", [(48, 16), (64, 64)])
def test_siglip_at_another_size(tmp_path, size):
    reference = write_siglip_folder(tmp_path)
    clip = load_backbone(tmp_path, size).model
    expected = reference.get_image_features(images(*size), interpolate_pos_encoding=True)
    assert_allclose(clip.encode_image(images(*size)), expected.pooler_output, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (48, 16), (16, 24)])
def test_naflex_has_the_features_of_transformers(tmp_path, size):
    reference = write_siglip_folder(tmp_path, "naflex")
    assert recognise(str(tmp_path)).name == "siglip2-naflex"
    clip, (rows, columns) = load_backbone(tmp_path, size).model, size
    pictures = images(*size)
    grid = pictures.unfold(2, 8, 8).unfold(3, 8, 8)  # (B, 3, rows / 8, columns / 8, 8, 8)
    patches = grid.permute(0, 2, 3, 4, 5, 1).reshape(2, -1, 8 * 8 * 3)
    expected = reference.get_image_features(
        patches,
        pixel_attention_mask=torch.ones(patches.shape[:2], dtype=torch.long),
        spatial_shapes=torch.tensor([[rows // 8, columns // 8]] * 2),
    )
    assert_allclose(clip.encode_image(pictures), expected.pooler_output, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (48, 16)])
def test_chinese_clip_has_the_features_of_transformers(tmp_path, size):
    reference = write_chinese_clip_folder(tmp_path)
    backbone = load_backbone(tmp_path, size)
    clip, pictures = backbone.model, images(*size)
    expected = reference.get_image_features(pictures, interpolate_pos_encoding=True)
    assert_allclose(clip.encode_image(pictures), expected.pooler_output, atol=1e-5)
    tokens = backbone.tokenizer(CAPTIONS, 52)
    own = AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=False)
    settings = {"padding": "max_length", "max_length": 52, "truncation": True}
    inputs = own(CAPTIONS, return_tensors="pt", **settings)
    assert torch.equal(tokens, inputs["input_ids"])
    expected = reference.get_text_features(**inputs)
    assert_allclose(clip.encode_text(tokens), expected.pooler_output, atol=1e-5)
    dense = clip.encode_text(tokens, dense=True)[1]
    assert_allclose(dense[:, 0], expected.pooler_output, atol=1e-5)


def test_special_tokens_in_a_caption_are_plain_text(tmp_path):
    write_siglip_folder(tmp_path / "siglip")
    write_chinese_clip_folder(tmp_path / "chinese")
    for name, mark in (("siglip", "</s>"), ("chinese", "[SEP]")):
        tokenizer = load_backbone(tmp_path / name).tokenizer
        end = tokenizer(["a"], 32)[0][tokenizer.lengths(tokenizer(["a"], 32))[0] - 1]
        tokens = tokenizer([f"a {mark} b"], 32)
        inner = tokens[0, : int(tokenizer.lengths(tokens)[0]) - 1]
        assert end not in inner


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("hf:google/siglip-base-patch16-224", "siglip"),
        ("google/siglip2-base-patch16-224", "siglip"),
        ("google/siglip2-base-patch16-naflex", "siglip2-naflex"),
        ("OFA-Sys/chinese-clip-vit-base-patch16", "chinese-clip"),
        ("BAAI/AltCLIP-m9", "altclip"),
    ],
)
def test_a_name_on_the_hub_tells_its_kind(source, kind):
    assert recognise(source) is find_kind(kind)


def test_what_tells_nothing_is_left_to_clip(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "siglip.pt").touch()
    for source in ("weights/siglip.pt", "siglip.pt", "hf:openai/clip-vit-base-patch16", "a\0b"):
        assert recognise(source) is None


def test_faults_of_a_folder_are_named(tmp_path):
    write_siglip_folder(tmp_path)
    loader = find_kind("siglip").loader()
    with pytest.raises(InputError, match=r"text_length is 77, but .* has positions for 64 tokens"):
        loader.load(str(tmp_path), TowerOptions(context_length=77))
    config = (tmp_path / "config.json").read_text()
    for old, new, fault in (
        ('"hidden_act": "gelu_pytorch_tanh"', '"hidden_act": "relu"', "asks for .* is supported"),
        ('"num_attention_heads": 4', '"num_attention_heads": 5', "width 32 with 5 heads"),
        ('"intermediate_size": 72', '"intermediate_size": 64', "does not fit SigLIP .*wrong shape"),
    ):
        assert old in config
        (tmp_path / "config.json").write_text(config.replace(old, new))
        with pytest.raises(InputError, match=fault):
            load_backbone(tmp_path)


SIZES = {"eva02": (224, 224), "mobileclip2": (64, 64), "pe": (384, 384)}


@torch.no_grad()
@pytest.mark.parametrize("family", OPEN_CLIP)
def test_open_clip_has_its_own_features(tmp_path, family):
    reference = write_open_clip_folder(tmp_path, family)
    backbone = load_backbone(f"local-dir:{tmp_path}")
    clip, size = backbone.model, SIZES.get(family, (32, 32))
    plain = family == "bigg"
    assert isinstance(clip, CLIP if plain else OpenCLIP)
    assert backbone.image_size == size
    assert_allclose(
        clip.encode_image(images(*size)), reference.encode_image(images(*size)), atol=1e-5
    )
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    tokens = tokenizer(CAPTIONS, 77)
    assert torch.equal(backbone.tokenizer(CAPTIONS, 77), tokens)
    expected = reference.encode_text(tokens)
    assert_allclose(clip.encode_text(tokens), expected, atol=1e-5)
    assert_allclose(clip.encode_text(backbone.tokenizer.trim(tokens)), expected, atol=1e-5)
    assert clip.logit_scale.item() == reference.logit_scale.item()
    assert (clip.logit_bias is None) == (family != "pooled")
    assert (backbone.mean, backbone.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@torch.no_grad()
@pytest.mark.parametrize("family", ["eva02", "mobileclip2", "pe", "pooled"])
def test_open_clip_gives_the_tokens_behind_its_features(tmp_path, family):
    reference = write_open_clip_folder(tmp_path, family)
    clip, size = load_backbone(tmp_path).model, SIZES.get(family, (32, 32))
    clip.check_tokens()
    pictures, tokens = images(*size), ClipTokenizer()(CAPTIONS, 77)
    features, dense = clip.encode_text(tokens, dense=True)
    assert_allclose(features, reference.encode_text(tokens), atol=1e-5)
    ends = tokens.argmax(dim=1) if family != "pooled" else torch.full((3,), 76)
    assert_allclose(dense[torch.arange(3), ends], features, atol=1e-5)
    features, dense = clip.encode_image(pictures, dense=True)
    assert_allclose(features, reference.encode_image(pictures), atol=1e-5)
    assert torch.equal(dense[:, 0], features)
    count = {"eva02": 16 * 16, "mobileclip2": 2 * 2, "pe": 24 * 24, "pooled": 4 * 4}[family]
    assert dense.shape == (2, 1 + count, 32)
    if family == "mobileclip2":  # whose head is linear
        assert_allclose(dense[:, 1:].mean(1), features, atol=1e-5)
    if family == "eva02":  # whose head reads the class token alone
        trunk, head = reference.visual.trunk, reference.visual.head
        every = trunk.head(trunk.fc_norm(trunk.forward_features(pictures)))
        assert_allclose(dense, head(every), atol=1e-5)


@torch.no_grad()
def test_tokens_of_a_class_token_are_projected_alike(tmp_path):
    """Of CLIP's image tower, which `xlmr` has; its text tower is of transformers."""
    write_open_clip_folder(tmp_path / "xlmr", "xlmr")
    clip = load_backbone(tmp_path / "xlmr").model
    tower = clip.visual.tower
    pictures = images(32, 32)
    x = tower.ln_post(tower.transformer(tower._embeds(pictures)))
    assert_allclose(clip.encode_image(pictures, dense=True)[1], x @ tower.proj, atol=1e-5)
    with pytest.raises(InputError, match=r"experiment\.mlm reads single tokens, .* HFTextEncoder"):
        clip.encode_text(torch.ones(2, 8, dtype=torch.long), dense=True)
    with pytest.raises(InputError, match=r"experiment\.mlm reads single tokens, .* HFTextEncoder"):
        clip.check_tokens()


def test_a_tower_without_tokens_names_the_loss_that_reads_them():
    vision = {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": TEXT, "custom_text": True}
    shapes = (
        ConfiguredShape(256, image_size=(32, 32), config=config),
        ConfiguredTextShape(32, 2, 4, 77, 49408),
    )
    clip = OpenCLIP(build_open_clip(config, None), *shapes)
    clip.text.check_tokens()
    with pytest.raises(InputError, match=r"experiment\.mlm reads single .* a ModifiedResNet of"):
        build_tbps_clip(configure("experiment.mlm=true"), clip, num_identities=2)


@pytest.mark.parametrize(
    ("source", "has"),
    [
        ("open_clip:EVA02-B-16/merged2b_s8b_b131k", True),
        ("open_clip:MobileCLIP2-S0/dfndr2b", True),
        ("open_clip:PE-Core-B-16/meta", True),
        ("open_clip:ViT-B-16-SigLIP/webli", False),
        ("open_clip:xlm-roberta-base-ViT-B-32/laion5b_s13b_b90k", False),
        ("nowhere", True),  # its loader says what is wrong
    ],
)
def test_the_weights_tell_whether_they_have_the_words_of_clip(source, has):
    assert find_kind("open_clip").reads_clip_words(source) is has
    assert find_kind("clip").reads_clip_words(source)
    assert not find_kind("siglip").reads_clip_words(source)


def test_statistics_of_pictures_are_those_of_the_source(tmp_path):
    """Of CLIP in open_clip's lists, in a folder of open_clip, in a cache of the hub, in a file."""
    read = find_kind("clip").loader().read_preprocessing
    inception = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), Resampling.BICUBIC)
    assert astuple(read("open_clip:ViT-L-14/laion2b_s32b_b82k", None)) == inception
    assert read("open_clip:ViT-B-16/openai", None).mean == PIXEL_MEAN
    snapshot = tmp_path / "models--org--name" / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text('{"model_type": "clip"}')
    (snapshot / "model.safetensors").touch()
    settings = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1]}
    (snapshot / "preprocessor_config.json").write_text(json.dumps(settings))
    for root in (snapshot, tmp_path):
        assert read(str(root), None).mean == (0.1, 0.2, 0.3)
    assert read(f"hf:{snapshot}", None).mean == (0.1, 0.2, 0.3)
    assert read(str(tmp_path / "ViT-B-16.pt"), None).mean == PIXEL_MEAN


@torch.no_grad()
@pytest.mark.parametrize("family", ["eva02", "mobileclip2", "pe", "pooled"])
def test_open_clip_changes_the_image_size_itself(tmp_path, family):
    write_open_clip_folder(tmp_path, family)
    sizes = {"eva02": (112, 56), "mobileclip2": (96, 64), "pe": (32, 32)}
    size = sizes.get(family, (48, 16))
    clip = load_backbone(tmp_path, size).model
    expected = open_clip.create_model(
        f"local-dir:{tmp_path}", force_image_size=size, weights_only=True
    ).eval()
    pictures = images(*size)
    assert_allclose(clip.encode_image(pictures), expected.encode_image(pictures), atol=1e-5)


def test_faults_of_an_open_clip_folder_are_named(tmp_path):
    with pytest.raises(InputError, match=r"open_clip_config\.json cannot be read"):
        load_backbone(f"local-dir:{tmp_path}")
    write_open_clip_folder(tmp_path, "pooled")
    config = (tmp_path / "open_clip_config.json").read_text()
    for old, new, fault in (
        ('"layers": 2', '"layers": 3', "does not fit this model of open_clip"),
        ('"no_ln_pre"', '"no_ln"', "open_clip cannot build this model: .*no_ln"),
        ('"custom_text"', '"multimodal_cfg"', "CoCa writes captions"),
        (
            '"no_ln_pre"',
            '"timm_model_name": "hf-hub:a/b", "no_ln_pre"',
            "names no model of timm",
        ),
    ):
        assert old in config
        (tmp_path / "open_clip_config.json").write_text(config.replace(old, new, 1))
        with pytest.raises(InputError, match=fault):
            load_backbone(tmp_path)
    (tmp_path / "open_clip_config.json").write_text(config)
    with pytest.raises(InputError, match=r"text_length is 100, but .* has positions for 77 tokens"):
        load_backbone(tmp_path, context_length=100)


def test_a_source_that_is_no_backbone_says_what_was_looked_for(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "blip"}')
    types = "clip, altclip, chinese_clip, siglip2, siglip"
    told = (
        f"blip: give a backbone, which has open_clip_config.json or .* {types} .looked for in this"
    )
    with pytest.raises(InputError, match=told):
        load_backbone(tmp_path)
    with pytest.raises(InputError, match=r"no weights at nowhere\.pt: .*, local-dir:FOLDER"):
        load_backbone("nowhere.pt")
    for name, told in (
        ("openai/clip-vit-base-patch16", "hf:openai/clip-vit-base-patch16 "),
        ("weights/ViT-B-16.pt", "hf:ORG/NAME "),
    ):
        with pytest.raises(InputError, match=rf"no weights at {name}: .* or {told}"):
            load_backbone(name)


@pytest.mark.parametrize(
    ("family", "names"),
    [
        (
            "eva02",
            ["visual.tower.trunk.blocks.11.attn.", "text.tower.transformer.resblocks.1."],
        ),
        (
            "mobileclip2",
            ["visual.tower.trunk.stages.3.", "text.tower.transformer.resblocks.1."],
        ),
        ("pooled", ["visual.tower.transformer.resblocks.1.mlp.", "text.tower.transformer."]),
        ("xlmr", ["visual.tower.", "text.tower.transformer.encoder.layer.1.output."]),
    ],
)
def test_layer_decay_knows_the_blocks_of_open_clip(tmp_path, family, names):
    write_open_clip_folder(tmp_path, family)
    factors = layer_factors(load_backbone(tmp_path).model, 0.5)
    for name in names:
        own = {factor for each, factor in factors.items() if each.startswith(name)}
        assert 0.5 in own
    lowest = [n for n, f in factors.items() if f == min(factors.values())]
    below = ("embed", "conv1", "cls_token", "stem", "ln_pre")
    assert all(any(part in name for part in below) for name in lowest)
    assert factors["logit_scale"] == 1
    for tower in ("visual", "text"):
        assert len({f for n, f in factors.items() if n.startswith(tower)}) > 1


def test_names_of_parameters_freeze_them(tmp_path):
    write_open_clip_folder(tmp_path, "xlmr")
    clip = load_backbone(tmp_path).model
    freeze(clip, ("text.tower.transformer.embeddings", "visual.tower.conv1"))
    frozen = {name.split(".")[0] for name, p in clip.named_parameters() if not p.requires_grad}
    assert frozen == {"text", "visual"}


def test_batch_norms_of_open_clip_are_those_of_all_processes(tmp_path):
    reference = write_open_clip_folder(tmp_path, "mobileclip2").visual.train()
    clip = load_backbone(tmp_path).model.train()
    pictures = images(64, 64)
    assert_allclose(clip.encode_image(pictures).detach(), reference(pictures).detach(), atol=1e-4)
    norms = [m for m in clip.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(norm, BatchNorm) for norm in norms)


def test_gradient_checkpointing_changes_no_gradient(tmp_path):
    write_open_clip_folder(tmp_path, "eva02")
    loader, gradients = recognise(str(tmp_path)).loader(), []
    for recomputes in (False, True):
        options = TowerOptions((28, 28), gradient_checkpointing=recomputes)
        clip = loader.load(str(tmp_path), options).train()
        tokens = ClipTokenizer()(CAPTIONS[:2], 77)
        (clip.encode_image(images(28, 28)) @ clip.encode_text(tokens).T).square().mean().backward()
        gradients.append({n: p.grad for n, p in clip.named_parameters() if p.grad is not None})
    plain, recomputed = gradients
    assert plain.keys() == recomputed.keys() == {*dict(clip.named_parameters())} - {"logit_scale"}
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)
