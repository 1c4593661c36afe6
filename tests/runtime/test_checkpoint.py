import errno
from collections import OrderedDict
from dataclasses import asdict, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from torch import nn

from errors import InputError
from misc.runtime.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    Position,
    RunIdentity,
    TrainingState,
    find_checkpoint,
    load_weights,
    open_checkpoint,
    save_checkpoint,
)
from model.architecture import Architecture, ReIDArchitecture, TextArchitecture
from model.clip import TextShape
from model.resnet import ResNetShape
from model.tuning.description import AdapterTuning, LoraTuning, PromptTuning, Tuning
from model.vit import VisionShape
from model.weights.published.format import Geometry, PublishedFormat
from tests import GOLDEN_FILES

VIT = VisionShape(32, 1, 2, patch_size=8, stride=8, image_size=(32, 16))
TEXT = TextShape(32, 1, 2, context_length=20, vocab_size=300)
PLAIN = TextArchitecture("clip", VIT, TEXT, 16, "quickgelu", 6)
ARCHITECTURES: dict[str, Architecture] = {
    "two towers": PLAIN,
    "ResNet": replace(PLAIN, vision=ResNetShape(8, (1, 2, 1, 1), 4, (64, 32), 1)),
    "tuned": replace(
        PLAIN,
        tuning=Tuning(
            PromptTuning(2, 1, "independent"),
            text_adapters=AdapterTuning(4, 0.5, (0,)),
            lora=LoraTuning(2, targets=("attention", "mlp"), towers=("image",)),
        ),
    ),
    "re-identification": ReIDArchitecture("clip", VIT, TEXT, 16, "gelu", 6, 8, 2),
    "without text": ReIDArchitecture("clip", VIT, None, 16, "gelu", 6),
}


@pytest.fixture
def content() -> dict:
    """A checkpoint as a file holds it."""
    return {
        "model": {**nn.Linear(2, 3).state_dict(), "towers": torch.zeros(20_000)},
        "architecture": PLAIN.to_tree(),
        "config": {"misc": {"seed": 1}},
        "recipe": "demo",
        "epoch": 2,
    }


def assert_same(first: Checkpoint, second: Checkpoint) -> None:
    """The same in everything but the bits of tensors, which are compared one by one."""
    assert replace(first, state={}) == replace(second, state={})
    assert first.state.keys() == second.state.keys()
    assert all(torch.equal(tensor, second.state[name]) for name, tensor in first.state.items())


def test_round_trip(tmp_path, content):
    save_checkpoint(content, tmp_path / LAST)
    read = open_checkpoint(tmp_path / LAST)
    assert read.to_tree().keys() == content.keys()
    saved = torch.load(tmp_path / LAST, weights_only=True)
    assert saved.keys() == content.keys() | {"format", "checksum"}
    assert torch.equal(read.state["weight"], content["model"]["weight"])
    assert (read.architecture, read.epoch, read.recipe) == (PLAIN, 2, "demo")
    assert (read.config, read.frozen_hash, read.training) == (content["config"], None, None)
    assert (read.published, read.project_settings) == (None, {})
    assert [file.name for file in tmp_path.iterdir()] == [LAST]


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
@pytest.mark.parametrize("training", [None, TrainingState(Position(1, 9, 12.5, 1), {"a": 1}, {})])
def test_what_a_run_writes_is_what_is_opened(tmp_path, architecture, training):
    identity = RunIdentity({"misc": {"seed": 1}}, "demo", architecture, "hash")
    state = {"weight": torch.arange(3.0), "towers": torch.zeros(70_000)}
    written = identity.checkpoint(tmp_path / LAST, state, 2, training)
    save_checkpoint(written.to_tree(), tmp_path / LAST)
    assert_same(open_checkpoint(tmp_path, BEST, LAST), written)


def test_the_files_of_older_versions_are_opened(tmp_path, content):
    """Before there was a choice of backbones, none was named, nor was there a checksum."""
    del content["architecture"]["backbone"]
    torch.save(content, tmp_path / LAST)
    assert open_checkpoint(tmp_path / LAST).architecture == PLAIN


def test_a_later_version_is_refused(tmp_path, content):
    save_checkpoint(content | {"format": 1}, tmp_path / LAST)
    saved = torch.load(tmp_path / LAST, weights_only=True)
    torch.save(saved | {"format": 2}, tmp_path / LAST)
    with pytest.raises(InputError, match=r"written by a later version of this project: update"):
        open_checkpoint(tmp_path / LAST)


@pytest.mark.parametrize(
    "change",
    [
        lambda saved: saved["model"]["weight"][0].add_(1),
        lambda saved: saved["model"]["bias"].view(torch.uint8)[-1].add_(1),
        lambda saved: saved["optimizer"]["state"][0]["step"].sub_(1),
        lambda saved: saved.update(epoch=3),
        lambda saved: saved["config"]["misc"].update(seed=True),
        lambda saved: saved.update(scaler=[]),
        lambda saved: saved.pop("checksum"),
        lambda saved: saved.pop("format"),
        lambda saved: saved["model"].update(weight=saved["model"]["weight"].view(2, 3)),
        lambda saved: saved["model"].update(weight=saved["model"]["weight"].view(torch.int32)),
    ],
)
def test_what_differs_from_its_checksum_is_refused(tmp_path, content, change):
    """Weights, states of the optimizer, plain values and types alike."""
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}}
    position = asdict(Position(1, 9, 12.5, 1))
    save_checkpoint(
        content | {"optimizer": optimizer, "scaler": {}, "position": position}, tmp_path / LAST
    )
    open_checkpoint(tmp_path / LAST)
    saved = torch.load(tmp_path / LAST, weights_only=True)
    change(saved)
    torch.save(saved, tmp_path / LAST)
    with pytest.raises(InputError, match=r"is damaged, its content differs from its checksum"):
        open_checkpoint(tmp_path / LAST)


NESTED: list[object] = []
for _ in range(100):
    NESTED = [NESTED, NESTED]  # 2 ** 100 parts in a short file
ODD_PARTS: dict[str, dict[str, object]] = {
    "epoch": {"epoch": "2"},
    "truth": {"epoch": True},
    "negative": {"epoch": -1},
    "config": {"config": [1]},
    "recipe": {"recipe": 3},
    "frozen": {"frozen": 3},
    "weights": {"model": [torch.zeros(2)]},
    "number among the weights": {"model": {"weight": 1.0}},
    "names": {"model": {3: torch.zeros(90_000)}},
    "nested": {"config": {"misc": NESTED}},
    "no architecture": {"architecture": None},
    "position": {"position": {"epoch": "1"}, "optimizer": {}, "scaler": {}},
    "optimizer": {"position": {}, "optimizer": 3, "scaler": {}},
    "no optimizer": {"position": {}},
}


@pytest.mark.parametrize("parts", ODD_PARTS.values(), ids=ODD_PARTS)
def test_parts_of_odd_types_are_refused(tmp_path, content, parts):
    torch.save(content | parts, tmp_path / LAST)
    with pytest.raises(InputError, match=r"checkpoint_last\.pt cannot be read") as caught:
        open_checkpoint(tmp_path / LAST)
    assert "\n" not in str(caught.value)


ODD_SHAPES: dict[str, dict[str, object]] = {
    "text for a number": {"vision": VIT.__dict__ | {"width": "32"}},
    "no stride": {"vision": VIT.__dict__ | {"stride": 0}},
    "list": {"vision": [1, 2]},
    "heads": {"vision": VIT.__dict__ | {"heads": 5}},
    "no heads": {"text": TEXT.__dict__ | {"heads": 0}},
    "broad": {"text": TEXT.__dict__ | {"width": 2**20}},
    "many layers": {"vision": VIT.__dict__ | {"layers": 10**9}},
    "large image": {"vision": VIT.__dict__ | {"image_size": (10**6, 10**6)}},
    "words": {"text": TEXT.__dict__ | {"vocab_size": 10**9}},
    "unknown field": {"text": TEXT.__dict__ | {"depth": 1}},
    "activation": {"activation": "relu"},
    "backbone": {"backbone": ["clip"]},
    "another backbone": {"backbone": "dino"},
    "tuning": {"tuning": {"lora": {"rank": "8"}}},
    "targets": {"tuning": {"lora": {"targets": ["all"]}}},
    "identities": {"identities": 1.5},
    "embedding": {"embed_dim": 10**6},
}


@pytest.mark.parametrize("fields", ODD_SHAPES.values(), ids=ODD_SHAPES)
def test_architectures_that_cannot_be_are_refused(tmp_path, content, fields):
    architecture = content["architecture"] | fields
    torch.save(content | {"architecture": architecture}, tmp_path / LAST)
    with pytest.raises(InputError, match=r"checkpoint_last\.pt") as caught:
        open_checkpoint(tmp_path / LAST)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e5m2])
def test_weights_that_are_not_finite_are_refused(tmp_path, content, value, dtype):
    content["model"]["bias"] = torch.tensor([0, value, 0]).to(dtype)
    save_checkpoint(content, tmp_path / LAST)
    with pytest.raises(InputError, match=r"holds values that are not finite, in bias: its train"):
        open_checkpoint(tmp_path / LAST)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(10**6, 10**6),
        torch.zeros(3).to_sparse(),
        torch.zeros(3, device="meta"),
    ],
    ids=["expanded", "sparse", "meta"],
)
def test_tensors_without_their_values_are_refused(tmp_path, content, tensor):
    torch.save(content | {"model": {"weight": tensor}}, tmp_path / LAST)
    with pytest.raises(InputError, match=r"its tensors claim|sparse, quantized or without values"):
        open_checkpoint(tmp_path / LAST)


def test_a_failed_write_leaves_the_old_file(tmp_path, content, monkeypatch):
    save_checkpoint(content, tmp_path / LAST)
    before = (tmp_path / LAST).read_bytes()

    def fail(_: object, stream: BinaryIO) -> None:
        stream.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    sentence = r"checkpoint_last\.pt cannot be written \(No space left .*\): make room"
    with pytest.raises(InputError, match=sentence) as caught:
        save_checkpoint(content, tmp_path / LAST)
    assert caught.value.in_one_process
    assert (tmp_path / LAST).read_bytes() == before


@pytest.mark.parametrize("size", [1, 10**6])
def test_a_full_disk_leaves_the_old_file(tmp_path, content, size):
    save_checkpoint(content, tmp_path / LAST)
    before = (tmp_path / LAST).read_bytes()
    (tmp_path / f"{LAST}.partial").symlink_to("/dev/full")
    content["model"]["more"] = torch.zeros(size)
    with pytest.raises(InputError, match=r"\(No space left on device\): make room"):
        save_checkpoint(content, tmp_path / LAST)
    assert (tmp_path / LAST).read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / LAST]


class Bomb:
    def __reduce__(self):
        return print, ("run by the pickle",)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("text", r"file\.pt cannot be read safely: it is damaged, no checkpoint, or holds more"),
        ("pickle", r"file\.pt cannot be read safely"),
        ("tensor", r"file\.pt holds a Tensor, not a checkpoint"),
        (
            "state dict",
            r"file\.pt is neither a checkpoint of this project \(it has no model, architecture, "
            r"config, recipe, epoch\) nor of a known one \(TBPS-CLIP, CSKT, RDE, IRRA, CLIP-ReID\)",
        ),
        ("no recipe", r"\(it has no recipe\)"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, capsys, content, kind, sentence):
    file = tmp_path / "file.pt"
    if kind == "text":
        file.write_text("<html>")
    else:
        weights = content["model"]
        held = {
            "pickle": {**content, "config": Bomb()},
            "tensor": weights["weight"],
            "state dict": OrderedDict(weights),
            "no recipe": {name: part for name, part in content.items() if name != "recipe"},
        }
        torch.save(held[kind], file)
    with pytest.raises(InputError, match=sentence) as caught:
        open_checkpoint(file)
    assert "\n" not in str(caught.value)
    assert "run by the pickle" not in capsys.readouterr().out


def never() -> Geometry:
    raise AssertionError("a checkpoint of this project tells its geometry")


def test_only_a_published_file_asks_for_the_geometry(tmp_path, content):
    save_checkpoint(content, tmp_path / LAST)
    assert open_checkpoint(tmp_path / LAST, geometry=never).architecture == PLAIN


@pytest.fixture
def published(tmp_path) -> Path:
    """The golden weights as CLIP-ReID's code saves them from DDP, for the size that it publishes:
    128 patches of 16 x 16 pixels.
    """
    golden = np.load(GOLDEN_FILES / "tiny_clipreid_vit.npz")
    names = [name for name in golden.files if name.startswith("weights/")]
    state = {name.removeprefix("weights/"): torch.tensor(golden[name]) for name in names}
    state["image_encoder.positional_embedding"] = torch.zeros(1 + 128, 64)
    state |= {
        f"{n}.num_batches_tracked": torch.tensor(5) for n in ("bottleneck", "bottleneck_proj")
    }
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "their.pth")
    return tmp_path / "their.pth"


def test_a_published_file_has_neither_a_configuration_nor_a_training(published):
    read = open_checkpoint(published, geometry=lambda _: Geometry((256, 128)))
    assert read.published is not None
    assert read.recipe == read.published.project == "CLIP-ReID"
    assert (read.file, read.epoch, read.config) == (published, 0, None)
    assert (read.frozen_hash, read.training) == (None, None)
    assert read.project_settings == {"experiment": {"clean_captions": True}}
    assert not any(name.startswith("module.") for name in read.state)


def test_a_published_file_of_another_size_is_read_where_any_will_do(published):
    """At the heads that were asked for."""

    def asked(_: PublishedFormat) -> Geometry:
        return Geometry((64, 32), heads=(2, 4))

    read = open_checkpoint(published, geometry=asked, any_size=True).architecture
    assert isinstance(read, ReIDArchitecture)
    assert read.vision == VisionShape(64, 12, 2, 16, 16, (256, 128))
    assert read.text is not None
    assert read.text.heads == 4
    assert (read.num_identities, read.num_cameras) == (7, 4)
    with pytest.raises(InputError, match=r"64 x 32 pixels .* set data\.image_size"):
        open_checkpoint(published, geometry=asked)
    with pytest.raises(InputError, match="a rectangle of 128 patches, which does not tell its"):
        open_checkpoint(published)
    shorter = torch.load(published, weights_only=True)
    shorter["module.image_encoder.positional_embedding"] = torch.zeros(1 + 7, 64)
    torch.save(shorter, published)
    with pytest.raises(InputError, match="trained on 7 patches, but an image of 64 x 32 pixels"):
        open_checkpoint(published, geometry=asked, any_size=True)


def test_a_run_folder_stands_for_its_best_checkpoint_or_the_last(tmp_path):
    (tmp_path / LAST).touch()
    assert find_checkpoint(tmp_path, BEST, LAST) == tmp_path / LAST
    (tmp_path / BEST).touch()
    assert find_checkpoint(tmp_path, BEST, LAST) == tmp_path / BEST
    assert find_checkpoint(tmp_path / LAST, BEST, LAST) == tmp_path / LAST


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path} holds no {BEST} or {LAST}"):
        open_checkpoint(tmp_path, BEST, LAST)
    with pytest.raises(InputError, match=r"absent does not exist; give a checkpoint or a run's"):
        open_checkpoint(tmp_path / "absent", LAST)


def test_weights_that_do_not_fit_are_named(content):
    with pytest.raises(InputError, match=r"file\.pt does not fit .* weight"):
        load_weights(nn.Linear(2, 4), content["model"], Path("file.pt"))
