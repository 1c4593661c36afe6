"""Every format is written by the library it belongs to, and compared with that library's model."""

import json
import logging
import os
import shutil

import numpy as np
import open_clip
import pytest
import torch
import transformers
from huggingface_hub import constants
from numpy.testing import assert_allclose
from safetensors.torch import load_file, save_file

from errors import InputError
from model.clip import CLIP, TextShape, VisionShape
from model.transformer import QuickGELU
from model.weights import load_clip, resize_position_embedding, resize_text_positions
from model.weights.key_maps import from_huggingface, from_openai, to_huggingface, to_openai
from tests import GOLDEN_FILES
from tests.archives import random_open_clip, write_openai_archive

GOLDEN = np.load(GOLDEN_FILES / "posemb_tbps.npz")
# Two towers of unlike width and depth, so that nothing is read from the wrong one.
SIZES = {
    "image_size": 32,
    "patch_size": 8,
    "width": 128,
    "layers": 2,
    "text_width": 64,
    "text_layers": 3,
    "context_length": 20,
    "vocab_size": 100,
    "embed_dim": 48,
}
VISION = VisionShape(128, 2, 2, patch_size=8, stride=8, image_size=(32, 32))
TEXT = TextShape(64, 3, 1, context_length=20, vocab_size=100)

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated")


def inputs():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 3, 32, 32, generator=generator)
    tokens = torch.randint(1, 99, (3, 20), generator=generator)
    tokens[[0, 1, 2], [4, 19, 11]] = 99  # end-of-text
    return images, tokens


@torch.no_grad()
def assert_same_features(clip, image_features, text_features, atol=1e-5):
    images, tokens = inputs()
    clip.eval()
    assert {parameter.dtype for parameter in clip.parameters()} == {torch.float32}
    assert_allclose(clip.encode_image(images), image_features.detach(), atol=atol)
    assert_allclose(clip.encode_text(tokens), text_features.detach(), atol=atol)


def assert_same_as_open_clip(clip, model):
    images, tokens = inputs()
    assert_same_features(clip, model.encode_image(images), model.encode_text(tokens))
    assert clip.logit_scale.item() == model.logit_scale.item()


def is_quickgelu(clip):
    kinds = {type(block.mlp.act) for block in clip.modules() if hasattr(block, "mlp")}
    assert len(kinds) == 1
    return kinds == {QuickGELU}


# OpenAI's names


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("openai") / "ViT-tiny.pt"
    return path, write_openai_archive(path, **SIZES)


def test_openai_archive(archive):
    path, model = archive
    state = torch.jit.load(path).state_dict()
    assert state["visual.conv1.weight"].dtype == torch.half
    assert {"input_resolution", "context_length", "vocab_size"} < state.keys()
    clip = load_clip(path, context_length=20)
    assert_same_as_open_clip(clip, model)
    assert is_quickgelu(clip)
    assert (clip.visual.shape, clip.text.shape) == (VISION, TEXT)
    assert clip.embed_dim == 48


@pytest.mark.parametrize("quick_gelu", [True, False])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_plain_state_dict(tmp_path, quick_gelu, wrapper):
    model = random_open_clip(**SIZES, quick_gelu=quick_gelu)
    state = model.state_dict()
    content = {wrapper: state, "epoch": 3} if wrapper else {**state, "input_resolution": 32}
    torch.save(content, tmp_path / "model.pth")
    activation = "quickgelu" if quick_gelu else "gelu"
    clip = load_clip(str(tmp_path / "model.pth"), context_length=20, activation=activation)
    assert_same_as_open_clip(clip, model)


@pytest.mark.parametrize("mlp_ratio", [4.9231, 2.0])  # of ViT-bigG-14, and a smaller one
def test_mlps_of_another_width(tmp_path, mlp_ratio):
    model = random_open_clip(**SIZES, mlp_ratio=mlp_ratio)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    clip = load_clip(tmp_path / "model.pt", context_length=20)
    assert_same_as_open_clip(clip, model)
    assert clip.visual.shape.mlp_width == int(128 * mlp_ratio)
    assert clip.text.shape.mlp_width == int(64 * mlp_ratio)


def test_safetensors_file(tmp_path):
    model = random_open_clip(**SIZES)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    assert_same_as_open_clip(load_clip(tmp_path / "model.safetensors", context_length=20), model)


def test_a_plain_state_dict_gets_quickgelu_and_a_log_line(tmp_path, caplog, archive):
    torch.save(random_open_clip(**SIZES).state_dict(), tmp_path / "model.pt")
    with caplog.at_level(logging.INFO, "model.weights"):
        assert is_quickgelu(load_clip(tmp_path / "model.pt"))
        (record,) = caplog.records
        assert "does not tell its activation: QuickGELU" in record.getMessage()
        caplog.clear()
        assert not is_quickgelu(load_clip(tmp_path / "model.pt", activation="gelu"))
        assert is_quickgelu(load_clip(archive[0]))
        assert not caplog.records


def test_options_reach_the_model(archive):
    clip = load_clip(archive[0], dropout=0.25, gradient_checkpointing=True)
    assert {block.attn.dropout for block in clip.text.transformer.blocks} == {0.25}
    assert {block.attn.dropout for block in clip.visual.transformer.blocks} == {0.0}
    assert clip.text.transformer.gradient_checkpointing
    assert clip.visual.transformer.gradient_checkpointing
    assert all(parameter.requires_grad for parameter in clip.parameters())


# Hugging Face


@pytest.fixture(scope="module", params=["quick_gelu", "gelu"])
def huggingface(request, tmp_path_factory):
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config={
            "vocab_size": 100,
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 20,
            "hidden_act": request.param,
            "bos_token_id": 98,
            "eos_token_id": 99,
        },
        vision_config={
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
            "hidden_act": request.param,
        },
        projection_dim=48,
    )
    model = transformers.CLIPModel(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp("huggingface")
    model.save_pretrained(folder)
    return folder, model


@torch.no_grad()
def test_huggingface_mlps_of_another_width(tmp_path):
    torch.manual_seed(0)
    small = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    small |= {"num_attention_heads": 4}
    text = {**small, "vocab_size": 100, "max_position_embeddings": 20, "eos_token_id": 99}
    vision = {**small, "intermediate_size": 300, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=48)
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    clip = load_clip(tmp_path, context_length=20)
    assert (clip.visual.shape.mlp_width, clip.text.shape.mlp_width) == (300, 96)
    assert_same_as_huggingface(clip, model)


def assert_same_as_huggingface(clip, model):
    images, tokens = inputs()
    assert_same_features(
        clip,
        model.get_image_features(pixel_values=images).pooler_output,
        model.get_text_features(input_ids=tokens).pooler_output,
        atol=5e-5,
    )
    assert clip.logit_scale.item() == model.logit_scale.item()
    assert is_quickgelu(clip) == (model.config.text_config.hidden_act == "quick_gelu")


def test_huggingface_folder(huggingface):
    folder, model = huggingface
    clip = load_clip(folder, context_length=20)
    assert_same_as_huggingface(clip, model)
    assert (clip.visual.shape.heads, clip.text.shape.heads) == (4, 4)


@torch.no_grad()
def test_huggingface_dense_features(huggingface):
    folder, model = huggingface
    clip = load_clip(folder, context_length=20).eval()
    images, tokens = inputs()
    vision, text = model.vision_model, model.text_model
    patches = vision.post_layernorm(vision(pixel_values=images).last_hidden_state)
    words = text(input_ids=tokens).last_hidden_state
    expected = model.visual_projection(patches), model.text_projection(words)
    assert_allclose(clip.encode_image(images, dense=True)[1], expected[0], atol=5e-5)
    assert_allclose(clip.encode_text(tokens, dense=True)[1], expected[1], atol=5e-5)


def test_huggingface_bin_and_shards(huggingface, tmp_path):
    folder, model = huggingface
    model.save_pretrained(tmp_path / "sharded", max_shard_size="200KB")
    assert len(list((tmp_path / "sharded").glob("model-*.safetensors"))) > 2
    assert_same_as_huggingface(load_clip(tmp_path / "sharded", context_length=20), model)

    (tmp_path / "bin").mkdir()
    shutil.copy(folder / "config.json", tmp_path / "bin")
    position_ids = {"text_model.embeddings.position_ids": torch.arange(20)[None]}
    torch.save({**model.state_dict(), **position_ids}, tmp_path / "bin" / "pytorch_model.bin")
    assert_same_as_huggingface(load_clip(tmp_path / "bin", context_length=20), model)


def write_cache(root, folder, repository="openai/tiny", revision="abc"):
    model = root / f"models--{repository.replace('/', '--')}"
    (model / "refs").mkdir(parents=True, exist_ok=True)
    (model / "refs" / "main").write_text(revision)
    shutil.copytree(folder, model / "snapshots" / revision)
    return model


def test_huggingface_cache(huggingface, tmp_path, monkeypatch):
    folder, model = huggingface
    cached = write_cache(tmp_path, folder)
    assert_same_as_huggingface(load_clip(tmp_path, context_length=20), model)
    write_cache(tmp_path, folder, revision="def")
    assert_same_as_huggingface(load_clip(cached, context_length=20), model)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert_same_as_huggingface(load_clip("hf:openai/tiny", context_length=20), model)
    write_cache(tmp_path, folder, "openai/other")
    with pytest.raises(InputError, match=r"several models: give one of .*other.*, .*tiny"):
        load_clip(tmp_path)


def test_hub_offline(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"run `hf download openai/nowhere --local-dir F.* give F"):
        load_clip("hf:openai/nowhere")


# open_clip


@pytest.fixture
def tiny_arch(tmp_path):
    """A small architecture in open_clip's list, with heads of 32 channels; its name and model."""
    model = random_open_clip(**SIZES, quick_gelu=False, head_width=32)
    vision = {"image_size": 32, "patch_size": 8, "width": 128, "layers": 2, "head_width": 32}
    text = {"context_length": 20, "vocab_size": 100, "width": 64, "heads": 2, "layers": 3}
    config = {"embed_dim": 48, "vision_cfg": vision, "text_cfg": text}
    (tmp_path / "ViT-tiny-test.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "ViT-tiny-test.json")
    torch.save(model.state_dict(), tmp_path / "open_clip.pt")
    yield f"open_clip:ViT-tiny-test/{tmp_path / 'open_clip.pt'}", model
    open_clip.factory._MODEL_CONFIG_PATHS.remove(tmp_path / "ViT-tiny-test.json")
    open_clip.factory._rescan_model_configs()


def test_open_clip(tiny_arch):
    source, model = tiny_arch
    clip = load_clip(source, context_length=20)
    assert_same_as_open_clip(clip, model)
    assert not is_quickgelu(clip)
    assert (clip.visual.shape.heads, clip.text.shape.heads) == (4, 2)


@pytest.mark.filterwarnings("ignore:QuickGELU mismatch")
@pytest.mark.parametrize("quick_gelu", [True, False])
def test_open_clip_tag_knows_its_activation(tiny_arch, tmp_path, monkeypatch, quick_gelu):
    tag = {"url": "", "quick_gelu": quick_gelu}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "ViT-tiny-test", {"tagged": tag})
    file = tmp_path / "open_clip.pt"
    monkeypatch.setattr(open_clip.factory, "download_pretrained", lambda *_, **__: str(file))
    assert is_quickgelu(load_clip("open_clip:ViT-tiny-test/tagged")) == quick_gelu


def test_open_clip_refusals(tiny_arch):
    for source, message in (
        ("open_clip:ViT-nonsense/openai", "open_clip has no ViT-nonsense"),
        ("open_clip:ViT-B-32", "lacks a tag: give open_clip:ViT-B-32/TAG, of "),
        ("open_clip:ViT-tiny-test/nonsense", "cannot give ViT-tiny-test with nonsense"),
        ("open_clip:ViT-L-14-CLIPA/datacomp1b", "ViT-L-14-CLIPA pools unlike CLIP"),
    ):
        with pytest.raises(InputError, match=message):
            load_clip(source)


def test_custom_text_names_are_refused_by_name(tmp_path):
    state = random_open_clip(**SIZES).state_dict()
    state = open_clip.model.convert_to_custom_text_state_dict(state)
    torch.save(state, tmp_path / "custom.pt")
    with pytest.raises(InputError, match=r"missing positional_embedding, .*text\.ln_final\.bias"):
        load_clip(tmp_path / "custom.pt")


# Sizes


@pytest.mark.parametrize(
    ("image_size", "stride", "grid"),
    [(None, None, (4, 4)), (64, None, (8, 8)), ((48, 16), None, (6, 2)), ((48, 16), 4, (11, 3))],
)
def test_image_size_and_stride(archive, image_size, stride, grid):
    path, model = archive
    clip = load_clip(path, image_size, stride)
    assert clip.visual.shape.grid == grid
    expected = resize_position_embedding(model.visual.positional_embedding.data, grid)
    assert torch.equal(clip.visual.positional_embedding.data, expected)
    rows, columns = clip.visual.shape.image_size
    _, dense = clip.encode_image(torch.zeros(1, 3, rows, columns), dense=True)
    assert dense.shape == (1, 1 + grid[0] * grid[1], 48)


def test_context_length(archive):
    path, model = archive
    clip = load_clip(path)
    assert clip.text.shape.context_length == 77
    expected = resize_text_positions(model.positional_embedding.data, 77)
    assert torch.equal(clip.text.positional_embedding.data, expected)


def test_rectangular_weights_fit_their_own_size_only(tmp_path):
    sizes = {**SIZES, "image_size": (48, 16)}
    model = random_open_clip(**sizes)
    torch.save(model.state_dict(), tmp_path / "rectangle.pt")
    clip = load_clip(tmp_path / "rectangle.pt", (48, 16)).eval()
    images = torch.randn(2, 3, 48, 16)
    with torch.no_grad():
        assert_allclose(clip.encode_image(images), model.encode_image(images), atol=1e-5)
    for image_size in (None, (64, 32)):
        with pytest.raises(InputError, match="12 patches is neither square nor"):
            load_clip(tmp_path / "rectangle.pt", image_size)


GRIDS = sorted({key.split("/")[0] for key in GOLDEN.files if not key.startswith("text")})
LENGTHS = sorted({key.split("/")[0] for key in GOLDEN.files if key.startswith("text")})


@pytest.mark.parametrize("case", GRIDS)
def test_golden_position_embeddings(case):
    grid = tuple(GOLDEN[f"{case}/hw"].tolist())
    resized = resize_position_embedding(torch.from_numpy(GOLDEN[f"{case}/inp"]), grid)
    assert_allclose(resized, GOLDEN[f"{case}/out"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", LENGTHS)
def test_golden_text_positions(case):
    length = int(case.split("_to_")[1])
    resized = resize_text_positions(torch.from_numpy(GOLDEN[f"{case}/inp"]), length)
    assert_allclose(resized, GOLDEN[f"{case}/out"], rtol=0, atol=1e-6)


@torch.no_grad()
def test_bicubic_position_embeddings_as_transformers(huggingface):
    _, model = huggingface
    embeddings = model.vision_model.embeddings
    tokens = torch.zeros(1, 1 + 6 * 2, 128)
    expected = embeddings.interpolate_pos_encoding(tokens, 48, 16)[0]
    resized = resize_position_embedding(embeddings.position_embedding.weight, (6, 2), "bicubic")
    assert_allclose(resized, expected, atol=1e-6)


# Names


def test_key_maps_are_inverse_to_the_bit(huggingface):
    theirs = random_open_clip(**SIZES).state_dict()
    ours = from_openai(theirs)
    assert ours.keys() == CLIP(VISION, TEXT, 48).state_dict().keys()
    for back, start in (
        (to_openai(ours), theirs),
        (from_huggingface(to_huggingface(ours)), ours),
    ):
        assert back.keys() == start.keys()
        assert all(torch.equal(back[name], start[name]) for name in start)
    written = to_huggingface(from_huggingface(load_file(huggingface[0] / "model.safetensors")))
    saved = load_file(huggingface[0] / "model.safetensors")
    assert written.keys() == saved.keys()
    assert all(torch.equal(written[name], saved[name]) for name in saved)


def test_what_we_write_the_others_load(huggingface):
    state = CLIP(VISION, TEXT, 48).state_dict()
    random_open_clip(**SIZES).load_state_dict(to_openai(state))
    transformers.CLIPModel(huggingface[1].config).load_state_dict(to_huggingface(state))


# Bad input


def spoilt(**changes):
    state = random_open_clip(**SIZES).state_dict()
    for name, tensor in changes.items():
        if tensor is None:
            del state[name]
        else:
            state[name] = tensor
    return state


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"visual.ln_pre.bias": None}, r"\(missing visual\.ln_pre\.bias\)"),
        ({"text_projection": None}, r"\(missing text_projection\)"),
        (
            {"transformer.resblocks.1.attn.in_proj_weight": None},
            r"\(missing transformer\.resblocks\.1\.attn\.in_proj_weight\)",
        ),
        ({"visual.head.bias": torch.zeros(1)}, r"\(unexpected visual\.head\.bias\)"),
        (
            {"text_projection": torch.zeros(64, 40)},
            r"wrong shape text_projection \(64, 40\) instead of \(64, 48\)",
        ),
        ({"visual.proj": torch.zeros(3)}, r"wrong shape visual\.proj \(3,\) instead of 2 dim"),
        (
            {"visual.transformer.resblocks.0.attn.in_proj_bias": torch.zeros(100)},
            r"wrong shape visual\S+in_proj_bias \(100,\) instead of \(384,\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, changes, message):
    torch.save(spoilt(**changes), tmp_path / "spoilt.pt")
    with pytest.raises(InputError, match=message) as caught:
        load_clip(tmp_path / "spoilt.pt")
    assert str(tmp_path / "spoilt.pt") in str(caught.value)


def test_long_lists_are_shortened(tmp_path):
    state = {name: tensor for name, tensor in spoilt().items() if ".mlp." not in name}
    strange = {f"strange.{i}": torch.zeros(1) for i in range(100)}
    torch.save({**state, **strange}, tmp_path / "spoilt.pt")
    told = r"missing transformer\S+mlp\.c_fc.* and 15 more; unexpected strange\.0, .* and 95 more"
    with pytest.raises(InputError, match=told) as caught:
        load_clip(tmp_path / "spoilt.pt")
    assert len(str(caught.value)) < 1000


def test_huggingface_tensors_are_named_as_its_own(huggingface, tmp_path):
    folder = shutil.copytree(huggingface[0], tmp_path / "spoilt")
    state = load_file(folder / "model.safetensors")
    del state["vision_model.pre_layrnorm.bias"]
    state["text_projection.weight"] = torch.zeros(48, 32)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(InputError) as caught:
        load_clip(folder)
    assert "missing vision_model.pre_layrnorm.bias" in str(caught.value)
    assert "text_projection.weight (48, 32) instead of (48, 64)" in str(caught.value)


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def write_truncated(path):
    torch.save(spoilt(), path)
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("page.pt", lambda p: p.write_text("\n<!DOCTYPE html><html>"), "is a web page"),
        (
            "model.safetensors",
            lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0"),
            "is a git-LFS pointer.*git lfs pull",
        ),
        ("empty.pt", lambda p: p.write_bytes(b""), "cannot be read as weights"),
        ("empty.safetensors", lambda p: p.write_bytes(b""), "cannot be read as weights"),
        ("text.pt", lambda p: p.write_text("just words"), "cannot be read as weights"),
        ("photo.jpg", lambda p: p.write_bytes(b"\xff\xd8\xff\xe0" * 99), "cannot be read as"),
        ("cut.pt", write_truncated, "cannot be read as weights"),
        ("harmful.pt", lambda p: torch.save({"a": Harmful()}, p), "more than tensors and plain"),
        ("list.pt", lambda p: torch.save([torch.zeros(1)], p), "holds a list"),
        ("none.pt", lambda p: torch.save({"a": 1}, p), "missing positional_embedding, text_pro"),
        (
            "checkpoint_best.pt",
            lambda p: torch.save({"model": {}, "architecture": {}, "recipe": "demo"}, p),
            "is a checkpoint of this project.* by model.init_from",
        ),
        (
            "RN50.pt",
            lambda p: torch.save({"visual.layer1.0.conv1.weight": torch.zeros(1)}, p),
            r"and 4 more; wrong shape visual\.layer1\.0\.conv1\.weight \(1,\) instead of 4 dim",
        ),
        (
            "hf.pt",
            lambda p: torch.save({"vision_model.pre_layrnorm.bias": torch.zeros(1)}, p),
            "in Hugging Face's names: give its folder",
        ),
    ],
)
def test_files_that_are_no_weights(tmp_path, monkeypatch, name, write, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name)
    with pytest.raises(InputError, match=message) as caught:
        load_clip(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "unpickled").exists()


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"no weights at .*nothing\.pt: give a file, a folder"):
        load_clip(tmp_path / "nothing.pt")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, r"has no config\.json"),
        ("{", r"config\.json is not JSON"),
        ('{"model_type": "altclip"}', "describes a model of type altclip: give one of type clip"),
        ('{"model_type": "blip"}', "type blip: give a backbone, .* type clip, altclip, "),
        (
            '{"model_type": "clip", "text_config": {"hidden_act": "relu"}}',
            r"asks for \(hidden_act, layer_norm_eps\) .*'relu', 1e-05",
        ),
        ('{"model_type": "clip"}', r"has no model\.safetensors or pytorch_model\.bin"),
    ],
)
def test_folders_that_are_no_clip(tmp_path, config, message):
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(InputError, match=message):
        load_clip(tmp_path)


def test_a_missing_shard_is_named(huggingface, tmp_path):
    huggingface[1].save_pretrained(tmp_path, max_shard_size="200KB")
    (lost, *_) = sorted(tmp_path.glob("model-00002-*"))
    lost.unlink()
    with pytest.raises(InputError, match=f"has no {lost.name}"):
        load_clip(tmp_path)
