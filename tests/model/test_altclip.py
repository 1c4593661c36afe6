"""Small folders of random weights, against `transformers.AltCLIPModel`, which wrote them."""

import json
import logging
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from numpy.testing import assert_allclose
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AltCLIPModel

from errors import InputError
from misc.optim import freeze
from model.altclip import AltCLIP, AltTextShape
from model.altclip_adapter import build_altclip_clip, load_altclip, load_image_processor
from model.vit import VisionShape
from model.weights import load_clip
from tests.altclip_folders import write_altclip_folder
from text_utils.tokenizer import AltCLIPTokenizer

CAPTIONS = [
    "a man wearing a blue coat",
    "红色上衣的女生",
    "A woman with long hair, 身穿绿色夹克 </s> and blue jeans, walks towards the camera.",
]
VISION = VisionShape(32, 2, 2, patch_size=8, stride=8, image_size=(32, 16))
TEXT = AltTextShape(64, 2, 2, context_length=96, vocab_size=300, transformed_width=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_altclip_folder(
        tmp_path_factory.mktemp("altclip"), vision_layers=2, text_layers=3, hidden_act="gelu"
    )


@pytest.fixture(scope="module")
def reference(folder):
    return AltCLIPModel.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def tokens(folder):
    return AltCLIPTokenizer(folder)(CAPTIONS)


def images(*size):
    return torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("size", [None, (32, 32), (64, 24), (24, 48), (40, 40), (35, 33)])
def test_image_features_are_those_of_transformers(folder, reference, size):
    clip = load_altclip(folder, image_size=size).eval()
    assert clip.visual.shape.image_size == (size or (32, 32))
    pictures = images(*(size or (32, 32)))
    expected = reference.get_image_features(pictures, interpolate_pos_encoding=True)
    norm, project = reference.vision_model.post_layernorm, reference.visual_projection
    pooled, dense = clip.encode_image(pictures, dense=True)
    assert_allclose(clip.encode_image(pictures), expected.pooler_output, atol=1e-5)
    assert_allclose(pooled, expected.pooler_output, atol=1e-5)
    assert_allclose(dense, project(norm(expected.last_hidden_state)), atol=1e-5)


def test_a_stride_overlaps_the_patches(folder, reference):
    clip = load_altclip(folder, image_size=(40, 32), stride=4)
    assert clip.visual.shape.grid == (9, 7)
    published = reference.vision_model.embeddings.position_embedding.weight.detach()
    picture = published[1:].T.reshape(1, 32, 4, 4)
    resized = F.interpolate(picture, (9, 7), mode="bicubic").flatten(2)[0].T
    assert_allclose(clip.visual.positional_embedding[1:].detach(), resized, atol=1e-6)


@torch.no_grad()
def test_text_features_are_those_of_transformers(folder, reference, tokens):
    clip = load_altclip(folder).eval()
    mask = (tokens != 1).long()
    assert mask.sum(dim=1).unique().numel() == 3
    expected = reference.get_text_features(tokens, attention_mask=mask)
    pooled, dense = clip.encode_text(tokens, dense=True)
    assert_allclose(clip.encode_text(tokens), expected.pooler_output, atol=1e-5)
    assert_allclose(pooled, expected.pooler_output, atol=1e-5)
    expected_dense = reference.text_projection(expected.last_hidden_state)
    assert_allclose(dense[mask.bool()], expected_dense[mask.bool()], atol=1e-5)
    unmasked = reference.get_text_features(tokens).pooler_output
    assert (unmasked - expected.pooler_output).abs().max() > 1e-3


@torch.no_grad()
def test_mlps_of_another_width(tmp_path):
    write_altclip_folder(tmp_path, mlp_ratio=3.5)
    reference, clip = AltCLIPModel.from_pretrained(tmp_path).eval(), load_altclip(tmp_path).eval()
    assert (clip.visual.shape.mlp_width, clip.text.shape.mlp_width) == (112, 224)
    pictures, tokens = images(32, 32), AltCLIPTokenizer(tmp_path)(CAPTIONS)
    expected = reference.get_text_features(tokens, attention_mask=(tokens != 1).long())
    assert_allclose(clip.encode_text(tokens), expected.pooler_output, atol=1e-5)
    expected = reference.get_image_features(pictures)
    assert_allclose(clip.encode_image(pictures), expected.pooler_output, atol=1e-5)


@torch.no_grad()
def test_padding_changes_features_by_rounding_only(folder, tokens):
    clip = load_altclip(folder).eval()
    for caption, row in zip(CAPTIONS, tokens, strict=True):
        used = row[row != 1][None]
        assert_allclose(clip.encode_text(used), clip.encode_text(row[None]), atol=1e-5)
        assert len(AltCLIPTokenizer(folder).trim(row[None])[0]) < 77, caption


def test_architecture_and_scale(folder, reference):
    clip = load_altclip(folder, dropout=0.2)
    assert clip.visual.shape == VisionShape(32, 2, 2, 8, 8, (32, 32))
    vocab_size = reference.config.text_config.vocab_size
    assert clip.text.shape == AltTextShape(64, 3, 2, 96, vocab_size, 0.2, transformed_width=40)
    assert (clip.embed_dim, clip.activation, clip.logit_bias) == (48, "gelu", None)
    assert clip.logit_scale.item() == reference.logit_scale.item()
    assert {parameter.dtype for parameter in clip.parameters()} == {torch.float32}
    count = sum(parameter.numel() for parameter in reference.parameters())
    assert sum(parameter.numel() for parameter in clip.parameters()) == count
    assert not list(clip.buffers())


def as_first_published(state):
    """Half precision, names and needless tensors of transformers 4."""
    old = {
        name.replace("vision_model.encoder.layer.", "vision_model.encoder.layers."): tensor.half()
        for name, tensor in state.items()
    }
    pooler = {"text_model.roberta.pooler.dense.weight": torch.zeros(64, 64)}
    position_ids = {
        "text_model.roberta.embeddings.position_ids": torch.arange(98)[None],
        "vision_model.embeddings.position_ids": torch.arange(17)[None],
    }
    return {**old, **pooler, **position_ids}


def as_transformers_5(state):
    return {name.replace(".layer.", ".layers."): tensor for name, tensor in state.items()}


@torch.no_grad()
@pytest.mark.parametrize("spell", [as_first_published, as_transformers_5])
def test_pickled_weights_and_other_spellings(folder, reference, tokens, tmp_path, spell):
    state = load_file(folder / "model.safetensors")
    assert "text_model.roberta.encoder.layer.0.output.dense.weight" in state
    shutil.copy(folder / "config.json", tmp_path)
    torch.save(spell(state), tmp_path / "pytorch_model.bin")
    clip = load_altclip(tmp_path).eval()
    expected = reference.get_text_features(tokens, attention_mask=(tokens != 1).long())
    assert_allclose(clip.encode_text(tokens), expected.pooler_output, atol=1e-2)
    expected = reference.get_image_features(images(32, 32))
    assert_allclose(clip.encode_image(images(32, 32)), expected.pooler_output, atol=1e-2)


def test_tensors_that_do_not_fit_are_named(folder, tmp_path):
    shutil.copy(folder / "config.json", tmp_path)
    state = load_file(folder / "model.safetensors")
    del state["text_model.pre_LN.bias"], state["logit_scale"]
    state["visual_projection.weight"] = torch.zeros(7, 32)
    state["vision_model.embeddings.position_embedding.weight"] = torch.zeros(10, 32)
    save_file({**state, "strange": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="does not fit AltCLIP") as caught:
        load_altclip(tmp_path, image_size=(64, 32))
    for told in (
        "missing logit_scale, text_model.pre_LN.bias;",
        "unexpected strange;",
        "vision_model.embeddings.position_embedding.weight (10, 32) instead of (17, 32)",
        "visual_projection.weight (7, 32) instead of (48, 32)",
    ):
        assert told in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"model_type": "clip"}', "describes a model of type clip: give one of type altclip"),
        (
            '{"model_type": "altclip", "vision_config": {"hidden_act": "relu"}}',
            r"asks for \(hidden_act, layer_norm_eps\) .*'relu', 1e-05",
        ),
        (
            '{"model_type": "altclip", "text_config": {"hidden_act": "quick_gelu"}}',
            "has a text tower without GELU",
        ),
    ],
)
def test_configurations_of_other_models(tmp_path, config, message):
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(InputError, match=message):
        load_altclip(tmp_path)


def test_clip_and_altclip_are_not_mistaken_for_each_other(folder):
    with pytest.raises(InputError, match="describes a model of type altclip: give one of type cl"):
        load_clip(folder)


# Everything in one call


@pytest.fixture(params=["folder", "root", "name and root"])
def place(request, folder, tmp_path):
    """The arguments under which the folder is found: itself, or a cache that holds it."""
    if request.param == "folder":
        return (folder,)
    model = tmp_path / "models--BAAI--AltCLIP"
    shutil.copytree(folder, model / "snapshots" / "abc")
    return (str(tmp_path),) if request.param == "root" else ("BAAI/AltCLIP", tmp_path)


def test_model_tokenizer_and_processor(place, reference, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    clip, tokenizer, processor = build_altclip_clip(*place, device="cpu")
    picture = Image.fromarray(np.arange(60 * 40 * 3, dtype=np.uint8).reshape(60, 40, 3))
    pixels = processor(images=[picture, picture], return_tensors="pt")["pixel_values"]
    assert pixels.shape == (2, 3, 32, 32)
    both = processor(text=CAPTIONS, images=picture, return_tensors="pt", padding=True)
    tokens = tokenizer(CAPTIONS)
    assert torch.equal(both["input_ids"], tokens[:, : both["input_ids"].shape[1]])
    assert not clip.training
    with torch.no_grad():
        expected = reference(**both)
        image, text = clip.encode_image(both["pixel_values"]), clip.encode_text(tokens)
    assert_allclose(F.normalize(image), expected.image_embeds, atol=1e-5)
    assert_allclose(F.normalize(text), expected.text_embeds, atol=1e-5)


def test_nothing_local_and_no_network(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for load in (build_altclip_clip, AltCLIPTokenizer, load_image_processor):
        with pytest.raises(InputError, match="run `hf download BAAI/AltCLIP --local-dir FOLDER`"):
            load("BAAI/AltCLIP", tmp_path)


def test_published_image_settings_where_a_cache_has_none(folder, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="model.altclip_adapter")
    assert load_image_processor(folder).crop_size.height == 32
    assert not caplog.messages
    shutil.copy(folder / "config.json", tmp_path)
    processor = load_image_processor(tmp_path)
    picture = Image.effect_mandelbrot((300, 260), (-2, -1, 1, 1), 50).convert("RGB")
    pixels = processor(images=picture, return_tensors="pt")["pixel_values"][0]
    resized = picture.resize((258, 224), Image.Resampling.BICUBIC).crop((17, 0, 241, 224))
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    plain = (torch.from_numpy(np.array(resized)).permute(2, 0, 1) / 255 - mean) / std
    assert_allclose(pixels, plain, atol=0.05)  # the rounding of another library's resize
    (message,) = caplog.messages
    assert "no preprocessor_config.json" in message


# Random weights and training


def small_altclip(**settings):
    torch.manual_seed(0)
    return AltCLIP(VISION, TEXT, embed_dim=24, **settings)


def small_tokens():
    tokens = torch.randint(4, 300, (3, 20), generator=torch.Generator().manual_seed(2))
    tokens[1, 9:], tokens[2, 5:] = 1, 1
    return tokens


def test_description_round_trip(folder, tokens):
    clip = load_altclip(folder, image_size=(48, 24), stride=4)
    vision, text, embed_dim, activation = json.loads(
        json.dumps([asdict(clip.visual.shape), asdict(clip.text.shape), 48, clip.activation])
    )
    vision["image_size"] = tuple(vision["image_size"])
    again = AltCLIP(VisionShape(**vision), AltTextShape(**text), embed_dim, activation)
    again.load_state_dict(clip.state_dict())
    with torch.no_grad():
        assert torch.equal(again.encode_text(tokens), clip.encode_text(tokens))
        pictures = images(48, 24)
        assert torch.equal(again.encode_image(pictures), clip.encode_image(pictures))


def loss(clip):
    image, text = clip.encode_image(images(32, 16)), clip.encode_text(small_tokens())
    return (clip.logit_scale.exp() * image @ text.T).square().mean()


def test_every_parameter_is_trained():
    clip = small_altclip().train()
    loss(clip).backward()
    assert [name for name, p in clip.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("frozen", [(), ("text.embeddings", "visual.conv1")])
def test_checkpointing_gives_equal_gradients(frozen):
    def gradients(checkpointing):
        clip = small_altclip(gradient_checkpointing=checkpointing).train()
        freeze(clip, frozen)
        calls = []
        first = (clip.text.encoder.layers[0].attention, clip.visual.transformer.blocks[0].ln_1)
        for layer in first:
            layer.register_forward_hook(lambda *_: calls.append(1))
        loss(clip).backward()
        assert len(calls) == (4 if checkpointing else 2)  # each layer once more in the backward
        return {name: p.grad for name, p in clip.named_parameters() if p.grad is not None}

    plain, recomputed = gradients(False), gradients(True)
    assert plain.keys() == recomputed.keys()
    assert not [name for name in plain if frozen and name.startswith(frozen)]
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)


def test_dropout_is_that_of_the_attention_alone():
    def draws(text):
        torch.manual_seed(0)
        clip = AltCLIP(VISION, text, embed_dim=24).train()
        return clip.encode_text(small_tokens()), clip.encode_text(small_tokens())

    assert torch.equal(*draws(TEXT))
    first, second = draws(replace(TEXT, dropout=0.5))
    assert not torch.allclose(first, second)


@torch.no_grad()
def test_autocast_keeps_the_stream_in_float32():
    clip = small_altclip().eval()
    exact = clip.encode_text(small_tokens())
    with torch.autocast("cpu", torch.bfloat16):
        assert clip.text(small_tokens()).dtype == torch.float32
        rounded = clip.encode_text(small_tokens()).float()
    assert_allclose(rounded, exact, atol=0.05)
