"""Layers of keys, merged into one configuration."""

import pytest
from pydantic import ValidationError

from tests import ROOT
from tests.command_line import configure, refusal


def test_default_is_the_published_recipe():
    config = configure()
    assert config.data.image_size == (224, 224)
    assert config.data.batch_size == 80
    assert config.schedule.lr == 1e-4
    assert config.schedule.betas == (0.9, 0.98)
    assert config.model.freeze == ("visual.conv1",)
    assert config.experiment.mvs_image
    assert [stage.name for stage in config.stages] == ["train"]


def test_config_is_frozen():
    config = configure()
    with pytest.raises(ValidationError):
        config.misc.seed = 2
    with pytest.raises(ValidationError):
        config.misc = config.misc


def test_default_is_found_from_any_folder(tmp_path, monkeypatch):
    here = configure("--simplified")
    monkeypatch.chdir(tmp_path)
    assert configure("--simplified") == here


def test_simplified_lies_over_the_recipe_and_under_overrides(write, default):
    recipe = write("mine.yaml", default + "experiment: {mvs_image: true, text_length: 40}")
    config = configure("--config", recipe, "--simplified", "misc.seed=7")
    assert not config.experiment.mvs_image
    assert config.experiment.text_length == 40
    assert config.misc.seed == 7
    assert configure("--simplified") == configure("--config", str(ROOT / "config/s.config.yaml"))


def test_overrides_reach_nested_keys_and_replace_lists():
    config = configure(
        "model.vision.width=96",
        "--backbone",
        "clip",
        "model.text={width: 64, heads: 4}",
        "model.freeze=[]",
        "data.image_size=[384, 128]",
        "schedule.lr=1",
        "data.batch_size=5",
    )
    assert (config.model.vision.width, config.model.vision.heads) == (96, 12)
    assert (config.model.text.width, config.model.text.layers) == (64, 12)
    assert config.model.freeze == ()
    assert config.data.image_size == (384, 128)
    assert config.schedule.lr == 1.0
    assert config.data.batch_size == 5


def test_one_number_is_a_square():
    assert configure("data.image_size=128").data.image_size == (128, 128)


def test_stages_override_the_schedule():
    config = configure("stages=[{name: a, schedule: {lr: 2, epoch: 9}, freeze: [text]}, {name: b}]")
    first, second = config.stages
    assert config.stage_schedule(second) == config.schedule
    assert config.stage_schedule(first) == config.schedule.model_copy(
        update={"lr": 2.0, "epoch": 9}
    )
    assert first.freeze == ("text",)
    assert second.freeze == ()


TWO = "stages=[{name: a, schedule: {lr: 2, epoch: 9}}, {name: b, freeze: [text]}]"


def test_a_stage_is_changed_by_its_name(write, default):
    config = configure(TWO, "stages.a.schedule.lr=3", "stages.b={skip: true, freeze: [visual]}")
    first, second = config.stages
    assert first.schedule == {"lr": 3, "epoch": 9}
    assert (second.skip, second.freeze) == (True, ("visual",))
    recipe = write("named.yaml", default + "stages: {train: {schedule: {epoch: 7}}}")
    assert configure("--config", recipe).stages[0].schedule == {"epoch": 7}
    assert configure("--config", recipe, TWO).stages[0].name == "a"


def test_a_stage_that_is_not_there_is_named():
    assert refusal("stages.first.skip=true") == (
        "command line: stages.first: expected a section of keys for an entry of stages by its name "
        "(train), or a whole list"
    )
    assert "stages.a: expected a section" in refusal(TWO, "stages.a=3")
    assert refusal(TWO, "stages.b.skipped=true") == (
        "command line: there is no key stages[1].skipped, did you mean stages.skip?"
    )
    assert "add one that is not skipped" in refusal("stages.train.skip=true")
