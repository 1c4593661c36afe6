"""Backbones, recognised by what their source is."""

import math

import pytest
import torch

from errors import InputError
from model.backbones import KINDS, find_kind, load_backbone
from model.clip import CLIP
from tests.altclip_folders import write_altclip_folder
from tests.archives import write_openai_archive
from text_utils.tokenizer import AltCLIPTokenizer, ClipTokenizer


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A small CLIP for squares of 32 pixels, as OpenAI publishes its weights."""
    file = tmp_path_factory.mktemp("weights") / "ViT-tiny.pt"
    write_openai_archive(file)
    return file


@torch.no_grad()
def test_an_archive_is_clip(archive):
    backbone = load_backbone(archive)
    assert isinstance(backbone.model, CLIP)
    assert not backbone.model.training
    assert isinstance(backbone.tokenizer, ClipTokenizer)
    assert backbone.image_size == (32, 32)
    assert backbone.mean[0] == pytest.approx(0.48145466)
    tokens = backbone.tokenizer(["a woman in a red coat"], 77)
    assert backbone.model.encode_text(tokens).shape == (1, backbone.model.embed_dim)
    assert backbone.model.encode_image(torch.zeros(2, 3, 32, 32)).shape[0] == 2


@torch.no_grad()
def test_sizes_are_asked_for(archive):
    backbone = load_backbone(str(archive), (64, 32), context_length=40)
    assert backbone.image_size == (64, 32)
    assert backbone.model.text.shape.context_length == 40
    assert math.prod(backbone.model.visual.shape.grid) == 8 * 4
    assert load_backbone(archive, 64).image_size == (64, 64)


@torch.no_grad()
def test_a_folder_is_what_its_config_says(tmp_path):
    write_altclip_folder(tmp_path / "AltCLIP")
    backbone = load_backbone(tmp_path / "AltCLIP")
    assert type(backbone.model).__name__ == "AltCLIP"
    assert isinstance(backbone.tokenizer, AltCLIPTokenizer)
    tokens = backbone.tokenizer(["红色上衣的女生", "a man"], 20)
    assert backbone.model.encode_text(tokens).shape == (2, backbone.model.embed_dim)


def test_what_is_not_there_is_said():
    with pytest.raises(InputError, match=r"there are no weights at absent\.pt"):
        load_backbone("absent.pt")
    with pytest.raises(InputError, match=r"unknown backbone 'altclipp': did you mean altclip\?"):
        find_kind("altclipp")


@pytest.mark.parametrize("name", KINDS)
def test_each_is_implemented(name):
    loader = find_kind(name).loader()
    assert loader.position_mode in ("bilinear", "bicubic")
