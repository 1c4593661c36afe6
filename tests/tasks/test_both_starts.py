"""Weights that a training of both tasks starts from, and trainings that start from one."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import main
import options
from errors import InputError
from misc.job import TASKS
from misc.runtime.checkpoint import LAST, open_checkpoint
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from tests.archives import write_openai_archive
from tests.command_line import parse
from tests.conftest import SMALL
from tests.tasks.conftest import DEMO_BOTH, FEW

DEMO = str(options.RECIPES / "demo.yaml")
DEMO_REID = str(options.RECIPES / "demo_reid.yaml")


def begin(recipe: str, *words: str) -> nn.Module:
    """The model that a training begins with."""
    config = parse(["--config", recipe, *SMALL, FEW[0], *words]).configure()
    own = Processes(0, 1, torch.device("cpu"))
    return TASKS[config.task](config, own, Precision("fp32", own.device)).build_model(None, True)


def test_a_text_training_goes_on_with_both_and_back(run_joint, joint_places):
    text = [*SMALL, *FEW[:4], *joint_places[:2], "experiment.text_length=64"]
    main.run(parse(["--config", DEMO, *text, "--output", "text"]))
    frozen = ("model.freeze=[visual.transformer]",)
    begun = open_checkpoint(run_joint("model.init_from=text", *frozen) / LAST).state
    before = open_checkpoint(Path("text") / LAST).state
    name = "clip.visual.transformer.blocks.0.mlp.c_fc.weight"
    assert torch.equal(begun[name], before[name])
    tower = begin(DEMO_BOTH, *joint_places, "model.init_from=text").clip.visual
    copy = before["clip.visual.class_embedding"] + before["clip.visual.positional_embedding"][0]
    assert torch.equal(tower.second_class, copy)
    back = ["model.init_from=run", "model.freeze=[visual.transformer]", "--output", "back"]
    main.run(parse(["--config", DEMO, *text, *back]))
    after = open_checkpoint(Path("back") / LAST).state
    assert torch.equal(after[name], before[name])
    assert "clip.visual.second_class" not in after


def test_a_training_of_one_task_takes_its_own_token(run_joint, joint_places):
    """Words take the first one; pictures the second, which both tasks take over, too."""
    held = open_checkpoint(run_joint() / LAST).state
    tower = "clip.visual."
    second, position = held[f"{tower}second_class"], held[f"{tower}positional_embedding"][0]
    start = "model.init_from=run"
    pictures = begin(DEMO_REID, joint_places[2], start).visual
    torch.testing.assert_close(pictures.class_embedding + position, second, rtol=0, atol=1e-7)
    assert pictures.second_class is None
    words = begin(DEMO, *joint_places[:2], start, "experiment.text_length=64").clip.visual
    assert torch.equal(words.class_embedding, held[f"{tower}class_embedding"])
    assert not torch.allclose(words.class_embedding, pictures.class_embedding, atol=1e-5)
    assert torch.equal(begin(DEMO_BOTH, *joint_places, start).clip.visual.second_class, second)


@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated")
def test_a_resnet_is_shared_or_refused(run_joint, joint_places, tmp_path):
    archive = tmp_path / "RN-tiny.pt"
    sizes = {"image_size": 64, "width": 8, "layers": (1, 1, 1, 1), "text_layers": 1}
    write_openai_archive(archive, **sizes, embed_dim=16)
    resnet = (f"model.clip_pretrained={archive}", "data.image_size=[64, 32]")
    fault = "but the image tower of {} has no class token: set it to shared, or give weights with a"
    with pytest.raises(InputError, match=re.escape(fault.format(archive))):
        begin(DEMO_BOTH, *joint_places, *resnet)
    run_joint(*resnet, "model.class_tokens=shared")
    with pytest.raises(InputError, match=re.escape(fault.format("run"))):
        begin(DEMO_BOTH, *joint_places, *resnet, "model.init_from=run")
