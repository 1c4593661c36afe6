"""Hugging Face folders that lie about themselves: a sentence, and nothing of theirs runs."""

import json
import os
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from errors import InputError
from model.backbones import load_backbone
from model.recognition import read_model_type
from model.weights.sources import read_weights
from tests.fuzz import _weights as sound


@pytest.fixture(params=["huggingface", "altclip", "siglip", "chinese_clip"])
def folder(request, tmp_path) -> Path:
    return shutil.copytree(getattr(sound, request.param)(), tmp_path / "model")


def change(file: Path, **values: object) -> None:
    tree = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**tree, **values}))


def test_python_beside_the_weights_never_runs(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # to "run this code?"
    (folder / "own.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Own: ...\n"
    )
    names = ("AutoModel", "AutoConfig", "AutoImageProcessor", "AutoProcessor")
    autos = dict.fromkeys(names, "own.Own") | {"AutoTokenizer": [None, "own.Own"]}
    for file in ("config.json", "preprocessor_config.json"):
        change(folder / file, auto_map=autos)
    load_backbone(folder)
    change(folder / "tokenizer_config.json", auto_map=autos, tokenizer_class="Own")
    refused = pytest.raises(InputError, match=r"the tokenizer in .* cannot be read")
    with refused if read_model_type(folder) == "altclip" else nullcontext():
        load_backbone(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("text", ["[1]", "3", "null", "{", "[" * 100_000, "1" * 5000, "\0"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_json_of_the_wrong_shape(folder, name, text):
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=r"download|give") as caught:
        read_weights(folder) if name.startswith("model") else load_backbone(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weight_map", [None, 3, ["x"], {"x": 3}, {"x": ["y"]}])
def test_an_index_without_names(tmp_path, weight_map):
    folder = shutil.copytree(sound.huggingface(), tmp_path / "model")
    change(folder / "model.safetensors.index.json", weight_map=weight_map)
    with pytest.raises(InputError, match=r"has no weight_map from tensors to files: download"):
        read_weights(folder)


@pytest.mark.parametrize(
    "shard", ["../x.safetensors", "/x.safetensors", "a/x.safetensors", "x.py", "", ".."]
)
def test_shards_elsewhere_are_refused(tmp_path, shard):
    folder = shutil.copytree(sound.huggingface(), tmp_path / "model")
    whole = next(iter(folder.glob("model*.safetensors")))
    shutil.copy(whole, tmp_path / "x.safetensors")
    change(folder / "model.safetensors.index.json", weight_map={"x": shard})
    with pytest.raises(InputError, match=r"which is no safetensors file beside it: download the"):
        read_weights(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"vision_config": 3},
        {"vision_config": {"hidden_size": "x"}},
        {"vision_config": {"num_attention_heads": 7}},
        {"text_config": {"num_attention_heads": 0}},
        {"text_config": {"hidden_act": ["gelu"]}},
    ],
)
def test_configurations_that_describe_no_model(folder, values):
    tree = json.loads((folder / "config.json").read_text())
    tree |= {k: tree[k] | v if isinstance(v, dict) else v for k, v in values.items()}
    (folder / "config.json").write_text(json.dumps(tree))
    with pytest.raises(InputError) as caught:
        load_backbone(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "pipe", "/dev/null", ""])
def test_names_of_no_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(InputError, match=r"there are no weights|has no"):
        read_weights(name)


def test_a_tag_of_open_clip_may_be_a_file_that_is_no_weights(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(InputError, match=r"x\.pt cannot be read as weights"):
        read_weights(f"open_clip:ViT-B-32/{tmp_path / 'x.pt'}")
