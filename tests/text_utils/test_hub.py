import shutil
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from errors import InputError
from text_utils.hub import find_model

NAME = "BAAI/AltCLIP"
WEIGHTS = ("model*.safetensors", "pytorch_model.bin")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """The user's own cache, empty, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "own"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "own"


def write(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("{}")
    return folder


def write_cached(root, *names, repository=NAME, revision="abc", main=True):
    model = root / f"models--{repository.replace('/', '--')}"
    if main:
        write(model / "refs")
        (model / "refs" / "main").write_text(revision)
    return write(model / "snapshots" / revision, *names)


@pytest.mark.parametrize("main", [True, False])
def test_a_folder_a_cached_model_and_the_root_of_a_cache(tmp_path, main):
    folder = write(tmp_path / "folder", "config.json", "pytorch_model.bin")
    assert find_model(folder, WEIGHTS) == folder
    snapshot = write_cached(tmp_path / "root", "config.json", "model.safetensors", main=main)
    for source in (tmp_path / "root", tmp_path / "root" / "models--BAAI--AltCLIP", snapshot):
        assert find_model(str(source), WEIGHTS) == snapshot


def test_a_name_is_looked_for_in_both_caches(tmp_path, own_cache):
    mine = write_cached(own_cache, "tokenizer.json")
    write_cached(tmp_path / "root", "tokenizer.json", repository="BAAI/Another")
    assert find_model(NAME, ["tokenizer.json"], tmp_path / "root") == mine
    theirs = write_cached(tmp_path / "root", "tokenizer.json")
    assert find_model(NAME, ["tokenizer.json"], tmp_path / "root") == theirs
    assert find_model(NAME, ["tokenizer.json"]) == mine


def test_the_newest_revision_is_main(own_cache):
    newest = write_cached(own_cache, "model.safetensors", revision="zzz")
    assert find_model(NAME, WEIGHTS) == newest
    older = write_cached(own_cache, "model.safetensors", revision="aaa")  # main is set back to it
    assert find_model(NAME, WEIGHTS) == older


def test_a_cache_dir_may_be_a_folder(tmp_path):
    weights = write(tmp_path / "weights", "config.json", "model.safetensors")
    tokenizer = write(tmp_path / "tokenizer", "tokenizer.json")
    assert find_model(weights, ["tokenizer.json"], tokenizer) == tokenizer
    assert find_model(NAME, ["tokenizer.json"], tokenizer) == tokenizer
    assert find_model(weights, WEIGHTS, tokenizer) == weights


def test_what_is_nowhere_is_fetched_once(tmp_path, monkeypatch):
    """The best of the wanted files, and not the others."""
    hub = write(tmp_path / "hub", "config.json", "tokenizer.json", "pytorch_model.bin")
    calls = []

    def download(repository, cache_dir, allow_patterns):
        calls.append(allow_patterns)
        snapshot = write_cached(Path(cache_dir), repository=repository)
        for file in (file for pattern in allow_patterns for file in hub.glob(pattern)):
            shutil.copy(file, snapshot)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    folder = find_model(NAME, WEIGHTS, tmp_path / "root")
    assert calls == [["*.json", "model*.safetensors"], ["*.json", "pytorch_model.bin"]]
    assert sorted(file.name for file in folder.iterdir()) == sorted(p.name for p in hub.iterdir())
    assert find_model(NAME, WEIGHTS, tmp_path / "root") == folder
    assert find_model(NAME, ["tokenizer.json"], tmp_path / "root") == folder
    assert len(calls) == 2
    with pytest.raises(
        InputError, match=r"merges\.txt not found locally or in the cache, and could not"
    ):
        find_model(NAME, ["merges.txt"], tmp_path / "root")


@pytest.mark.parametrize("partly", [False, True])
def test_offline_the_command_is_told(tmp_path, partly):
    if partly:  # as AutoTokenizer alone leaves a cache
        write_cached(tmp_path / "root", "config.json", "tokenizer.json")
    command = (
        r"`hf download BAAI/AltCLIP --local-dir FOLDER` on a machine with network access, and g"
    )
    with pytest.raises(InputError, match=command) as caught:
        find_model(NAME, WEIGHTS, tmp_path / "root")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["/no/such/AltCLIP", "./AltCLIP", "AltCLIP", "~/AltCLIP", "a/b/c"])
def test_a_path_to_nothing_is_no_name(path):
    with pytest.raises(InputError, match=f"{path} does not exist: give a folder"):
        find_model(path, WEIGHTS)


def test_a_file_is_no_folder_of_a_model(tmp_path):
    (tmp_path / "ViT-B-16.pt").touch()
    with pytest.raises(InputError, match=r"ViT-B-16\.pt is a file: give a folder"):
        find_model(str(tmp_path / "ViT-B-16.pt"), WEIGHTS)


def test_a_folder_that_lacks_what_is_wanted(tmp_path):
    write(tmp_path, "config.json")
    with pytest.raises(InputError, match=r"has no model\*\.safetensors or pytorch_model\.bin: dow"):
        find_model(tmp_path, WEIGHTS)


def test_a_cache_of_several_models(tmp_path):
    for name in ("BAAI/AltCLIP", "BAAI/Another"):
        write_cached(tmp_path, "config.json", repository=name)
    with pytest.raises(InputError, match=r"several models: give one of .*AltCLIP.*, .*Another"):
        find_model(tmp_path, WEIGHTS)
