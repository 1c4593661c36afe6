"""CLIP with a ResNet through main.py: from published weights and from none, and its checkpoints."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

import main
import options
from errors import InputError
from misc.export import main as export
from misc.runtime.checkpoint import BEST, LAST, open_checkpoint
from model.weights import load_clip, resize_position_embedding
from tests.archives import write_openai_archive
from tests.command_line import parse
from tests.conftest import SMALL

DEMO = str(options.RECIPES / "demo.yaml")
SIZES = {"image_size": 64, "width": 8, "layers": (1, 2, 1, 1), "text_layers": 1, "embed_dim": 16}
SCRATCH = (
    "model.clip_pretrained=null",
    "model.vision={width: 8, layers: [1, 2, 1, 1], heads: 4, patch_size: null}",
)
POSITIONS = "clip.visual.attnpool.positional_embedding"
STILL = ("schedule.lr=1e-12", "schedule.lr_start=0", "schedule.lr_end=0")

Run = Callable[..., Path]

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated")


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("openai") / "RN-tiny.pt"
    write_openai_archive(path, **SIZES)
    return path


@pytest.fixture(params=["published", "scratch"])
def weights(request, archive) -> tuple[str, ...]:
    """The settings of a training from published weights, and from random ones."""
    return (f"model.clip_pretrained={archive}",) if request.param == "published" else SCRATCH


@pytest.fixture
def run(places, tmp_path) -> Run:
    """An epoch of two steps in a folder of its own; more words change it."""

    def run(*words: str, output: str = "run") -> Path:
        few = ("data.image_size=[64, 32]", "data.batch_size=48", "schedule.epoch=1")
        arguments = ["--config", DEMO, *SMALL, *places, *few, *words]
        main.run(parse([*arguments, "--output", str(tmp_path / output)]))
        return tmp_path / output

    return run


def state(folder: Path, name: str = LAST) -> dict[str, Tensor]:
    return open_checkpoint(folder / name).state


def closing_rows(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    return [
        {k: v for k, v in row.items() if k not in ("chosen", "seconds")}
        for row in rows
        if "chosen" in row
    ]


def test_it_trains_and_evaluates_from_its_checkpoint(run, weights, tmp_path):
    """With masked words over its dense tokens, and the rates of layers."""
    heads = "experiment={ss: true, id: true, mlm: true, cmt_depth: 1, mvs_image: true}"
    folder = run(*weights, heads, "schedule.layer_decay=0.7")
    checkpoint = open_checkpoint(folder / LAST)
    assert checkpoint.training.position.step == 2
    vision = checkpoint.architecture.vision
    assert (vision.layers, vision.last_stride) == ((1, 2, 1, 1), 2)
    assert checkpoint.state[POSITIONS].shape == (1 + 2 * 1, 256)
    again = tmp_path / "again"
    main.run(parse(["--evaluate", str(folder), "--output", str(again)]))
    trained, evaluated = closing_rows(folder), closing_rows(again)
    for row in (*trained, *evaluated):
        del row["step"]
    assert evaluated == trained


def test_what_a_training_changes(run, archive):
    """All but the frozen convolution, from the weights of the archive on."""
    start = {f"clip.{n}": t for n, t in load_clip(archive, (64, 32)).state_dict().items()}
    words = (f"model.clip_pretrained={archive}", "model.freeze=[visual.conv1]")
    trained = state(run(*words))
    assert torch.equal(trained["clip.visual.conv1.weight"], start["clip.visual.conv1.weight"])
    counter = "clip.visual.layer2.1.bn2.num_batches_tracked"
    assert trained[counter] == start[counter] + 2
    for part in ("conv2.weight", "bn1.running_mean", "layer4.0.bn3.weight", "attnpool.c_proj.bias"):
        name = f"clip.visual.{part}"
        assert not torch.equal(trained[name], start[name]), name
    unmoved = state(run(*words, *STILL, output="still"))
    assert_allclose(unmoved[POSITIONS], start[POSITIONS], atol=1e-6)


def test_a_resumed_run_ends_in_the_same_weights(run, weights):
    """The running statistics among them."""
    second = ", {name: second}"
    stages = f"stages=[{{name: first, schedule: {{epoch: 1}}}}{second}]"
    whole = state(run(*weights, stages, output="whole"))
    run(*weights, stages.replace(second, ""), output="parts")
    with pytest.raises(InputError, match=r"stages\.second was absent and is present; .*--allow-c"):
        run(*weights, stages, "--resume", "auto", output="parts")
    more = (stages, "--resume", "auto", "--allow-changes")
    parts = state(run(*weights, *more, output="parts"))
    assert whole["clip.visual.bn1.num_batches_tracked"] >= 4
    assert whole.keys() == parts.keys()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def test_a_training_begins_from_a_checkpoint_of_another_size(run, weights):
    folder = run(*weights)
    first = state(folder, BEST)
    larger = (*STILL, "data.image_size=[96, 32]", "model.last_stride=1")
    begun = state(run(*weights, *larger, f"model.init_from={folder}", output="begun"))
    expected = resize_position_embedding(first[POSITIONS], (6, 2), own_grid=(2, 1))
    assert_allclose(begun[POSITIONS], expected, atol=1e-6)
    name = "clip.visual.layer4.0.conv2.weight"
    assert_allclose(begun[name], first[name], atol=1e-6)


# Bad input


def test_a_checkpoint_is_of_one_tower_and_one_stride(run, archive, tmp_path):
    folder = run(*SCRATCH)
    for words, message in (
        (("model.last_stride=1",), r"model\.last_stride is 2 in it and 1 in the configuration"),
        (
            (f"model.clip_pretrained={archive}", "model.stride=16"),
            r"model\.stride is None in it and 16",
        ),
        (("model.vision.layers=[1, 1, 1, 1]",), r"model\.vision is ResNetShape\(.*\(1, 1, 1, 1\)"),
        (("model.vision={layers: 1, patch_size: 8}",), r"model\.vision is ResNetShape.*VisionS"),
    ):
        with pytest.raises(InputError, match=message):
            run(*SCRATCH, *words, "--resume", "auto")
    init = f"model.init_from={folder}"
    with pytest.raises(InputError, match=r"run has a ResNet.*leave model\.stride null"):
        run(f"model.clip_pretrained={archive}", init, "model.stride=16", output="begun")
    with pytest.raises(InputError, match=r"has a ResNet.*leave model\.stride null instead of 16"):
        run(f"model.clip_pretrained={archive}", "model.stride=16", output="begun")
    assert not (tmp_path / "begun").exists()


def test_parts_of_a_batch_are_refused(run):
    with pytest.raises(InputError, match=r"batch norms.*: raise data\.batch_size, or lower"):
        run(*SCRATCH, "data.batch_size=16", "data.global_batch_size=48")


def test_the_code_of_tbps_clip_has_no_resnet(run, tmp_path, capsys):
    folder = run(*SCRATCH)
    assert export([str(folder), str(tmp_path / "exported.pth")]) == 2
    assert "has a ResNet, and TBPS-CLIP's code a ViT only" in capsys.readouterr().err
    assert not (tmp_path / "exported.pth").exists()
