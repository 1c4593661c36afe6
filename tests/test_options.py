"""The configuration: what resolves to what, and what every mistake is answered with."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

import options
from errors import InputError
from misc.settings.yaml12 import read_yaml
from model.backbones import KINDS, BackboneKind
from tests import ROOT


def configure(*words: str) -> options.Config:
    return options.parse(words).configure()


def refusal(*words: str) -> str:
    with pytest.raises(InputError) as caught:
        configure(*words)
    return str(caught.value)


@pytest.fixture
def write(tmp_path):
    """Writes a recipe, gives its path as a word of the command line."""

    def write_recipe(name: str, text: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write_recipe


@pytest.fixture
def default() -> str:
    return f"base: {ROOT / 'config/config.yaml'}\n"


# ---- what resolves to what -----------------------------------------------------------------------


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
        "data.batch_size=4",
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


def test_base_is_relative_to_the_recipe_and_chains(write, default, tmp_path, monkeypatch):
    write("below/first.yaml", default + "misc: {seed: 5}\ndata: {batch_size: 3, num_workers: 1}")
    write("below/second.yaml", "base: first.yaml\ndata: {batch_size: 2}")
    third = write("third.yaml", "base: below/second.yaml")
    monkeypatch.chdir(tmp_path / "below")
    config = configure("--config", third)
    assert (config.misc.seed, config.data.batch_size, config.data.num_workers) == (5, 2, 1)
    assert configure("--config", "first.yaml").data.batch_size == 3


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
    assert "name one that is not skipped" in refusal("stages.train.skip=true")


def test_several_bases_lie_one_over_the_other_and_what_they_share_once(write, default):
    write("common.yaml", default + "misc: {seed: 5}\ndata: {batch_size: 3}")
    write("first.yaml", "base: common.yaml\ndata: {batch_size: 4, num_workers: 7}")
    write("second.yaml", "base: common.yaml\ndata: {num_workers: 8}")
    both = write("both.yaml", "base: [first.yaml, second.yaml]\nmisc: {seed: 6}")
    config = configure("--config", both)
    assert (config.misc.seed, config.data.batch_size, config.data.num_workers) == (6, 4, 8)
    bad = write("bad.yaml", "base: [first.yaml, 3]")
    assert "expected the name of a YAML file" in refusal("--config", bad)


def test_simplified_goes_with_text_alone():
    recipe = str(ROOT / "config" / "clipreid_vit.yaml")
    assert refusal("--config", recipe, "--simplified") == (
        "--simplified needs task text_to_image, but the recipe is for image_to_image: leave it out"
    )


def test_further_losses_are_switched_on_by_their_weights():
    weights = configure("--simplified", "experiment.losses.tal=2").experiment.loss_weights()
    assert weights == {"nitc": 1.0, "ritc": 1.0, "tal": 2.0}
    off = ("--simplified", "experiment.nitc=false", "experiment.ritc=false")
    config = configure(*off, "experiment.losses={tal: 2}", "experiment.losses.trl=0.5")
    assert config.experiment.loss_weights() == {"tal": 2.0, "trl": 0.5}
    assert "no loss is left to train" in refusal(*off, "experiment.losses.tal=0")


def test_captions_are_cleaned_unless_the_recipe_says_otherwise():
    assert configure().experiment.clean_captions
    cskt = str(ROOT / "config/cskt.yaml")
    assert not configure("--config", cskt).experiment.clean_captions


@pytest.fixture
def made_up(monkeypatch, write):
    """A backbone that only this test registers, with a recipe of its own."""
    recipe = write("made_up.yaml", "data: {normalize: half}\nmodel: {embed_dim: 768}")
    kind = BackboneKind("made-up", "nowhere", source_key="init_from", recipe=recipe)
    monkeypatch.setitem(KINDS, kind.name, kind)
    return kind


@pytest.mark.parametrize("choice", [("--backbone", "made-up"), ("model.backbone=made-up",)])
def test_a_registered_backbone_is_accepted(made_up, choice):
    words = (*choice, "--simplified", "model.init_from=weights.pt", "data.batch_size=4")
    config = configure(*words)
    assert (config.model.kind, config.model.source) == (made_up, "weights.pt")
    assert (config.data.normalize, config.model.embed_dim) == ("half", 768)
    assert not config.model.from_scratch
    assert configure(*words, "data.normalize=clip").data.normalize == "clip"
    assert configure(*words, "model.tokenizer_type=made-up").model.tokenizer_type == "made-up"


def test_a_registered_backbone_is_checked_by_what_it_can_do(made_up):
    words = ("--backbone", "made-up", "--simplified")
    assert refusal(*words) == (
        "command line: model: init_from is not set, but backbone made-up needs pretrained weights: "
        "name them there"
    )
    words += ("model.init_from=weights.pt",)
    assert "last_stride is 1, but the image tower is a ViT" in refusal(
        *words, "model.last_stride=1"
    )
    assert "needs model.backbone altclip, but that is made-up" in refusal(
        *words, "experiment.use_altclip_processor=true"
    )
    reid = str(ROOT / "config/clipreid_vit.yaml")
    assert "made-up cannot be trained for task image_to_image, only for text_to_image" in refusal(
        "--config", reid, *(word for word in words if word != "--simplified")
    )
    assert "did you mean made-up? (clip, altclip, made-up)" in refusal("--backbone", "madeup")


# ---- YAML 1.2 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-2.", -2.0),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("-7", -7),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        *((word, word) for word in ("no", "yes", "on", "Off", "y", "1_000", "0b1", "1:30", "<<")),
        ("2020-01-01", "2020-01-01"),
        ("'4'", "4"),
        ("-.inf", float("-inf")),
    ],
)
def test_scalars_of_the_core_schema(text, value):
    read = read_yaml(text, "here")
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["a: [1", "a: 1\nb:\n  a: 1\n  a: 2", "{1: 2}", "&a [*a]", "!x 1"])
def test_broken_yaml_names_its_line(write, text):
    path = write("broken.yaml", text)
    assert f"{path}, line " in refusal("--config", path)


def test_duplicate_key_names_key_and_line(write):
    path = write("twice.yaml", "data:\n  batch_size: 1\n  batch_size: 2\n")
    assert refusal("--config", path) == f"{path}, line 3: key batch_size comes twice"


# ---- what mistakes are answered with -------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("data.batchsize", "data.batch_size"),
        ("schedule.batch_size", "data.batch_size"),
        ("batch_size", "data.batch_size"),
        ("model.vision.widht", "model.vision.width"),
        ("shedule.lr", "schedule.lr"),
        ("lr", "schedule.lr"),
        ("vision.width", "model.vision.width"),
        ("experiment.lr", "schedule.lr"),
    ],
)
def test_unknown_key_names_the_nearest(given, nearest):
    message = refusal(f"{given}=4")
    assert message.startswith("command line: there is no key ")
    assert message.endswith(f", did you mean {nearest}?")


def test_unknown_key_names_its_file(write, default):
    wrong = write("wrong.yaml", default + "data: {batchsize: 4}")
    over = write("over.yaml", f"base: {wrong}\nmisc: {{seed: 3}}")
    assert refusal("--config", over) == (
        f"{wrong}: there is no key data.batchsize, did you mean data.batch_size?"
    )


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("data.batch_size='4'", 'data.batch_size is "4", expected a whole number'),
        ("data.batch_size=true", "data.batch_size is true, expected a whole number"),
        ("data.batch_size=4.0", "data.batch_size is 4.0, expected a whole number"),
        ("data.batch_size=0", "data.batch_size is 0, expected at least 1"),
        ("data=4", "data is 4, expected a section of keys"),
        ("data=", "data is null, expected a section of keys"),
        ("data.image_root=12", "data.image_root is 12, expected text (a number is text in quotes)"),
        ("data.image_root=''", 'data.image_root is "", expected text that is not empty'),
        ("data.image_size=[1]", "data.image_size[1] is missing"),
        ("data.image_size=[1, 2, 3]", "data.image_size is [1, 2, 3], expected at most 2 values"),
        ("data.image_size=true", "data.image_size is true, expected a list in [ ]"),
        ("experiment.nitc=no", 'experiment.nitc is "no", expected true or false'),
        ("experiment.nitc=1", "experiment.nitc is 1, expected true or false"),
        ("experiment.dropout=1", "experiment.dropout is 1, expected below 1"),
        ("experiment.eda_alpha=1.5", "experiment.eda_alpha is 1.5, expected at most 1"),
        ("experiment.text_length=78", "experiment.text_length is 78, expected at most 77"),
        ("experiment.text_length=2", "experiment.text_length is 2, expected at least 3"),
        ("experiment.itc=null", "experiment.itc is null, expected true or false"),
        ("schedule.lr=true", "schedule.lr is true, expected a number"),
        ("schedule.lr=0", "schedule.lr is 0, expected above 0"),
        ("schedule.lr=.nan", "schedule.lr is NaN, expected a finite number"),
        ("schedule.lr=1e400", "schedule.lr is Infinity, expected a finite number"),
        ("schedule.clip_grad=-1", "schedule.clip_grad is -1, expected above 0"),
        ("schedule.betas=0.9", "schedule.betas is 0.9, expected a list in [ ]"),
        ("schedule.epoch_warmup=9", "schedule: epoch_warmup 9 is more than epoch 5"),
        ("schedule.epoch=0", "schedule.epoch is 0, expected at least 1"),
        ("model.freeze=conv1", 'model.freeze is "conv1", expected a list in [ ]'),
        ("model.vision.heads=7", "model.vision: width 768 cannot be divided among 7 heads"),
        ("model.vision.layers=0", "model.vision.layers: 0 is neither a ViT's number of blocks"),
        ("model.vision.layers=[3, 4]", "[3, 4] is neither a ViT's number of blocks nor a list"),
        ("model.vision.layers=[3, 4, 6, true]", "[3, 4, 6, true] is neither a ViT's number"),
        ("model.vision.layers=[3, 4, 6, 3]", "layers [3, 4, 6, 3] and patch_size 16 do not go"),
        ("model.vision.patch_size=null", "layers 12 and patch_size null do not go together"),
        (
            "model.vision={width: 6, layers: [1, 1, 1, 1], heads: 5, patch_size: null}",
            "model.vision: width 192 cannot be divided among 5 heads",
        ),
        ("model.last_stride=3", "model.last_stride is 3, expected 1 or 2"),
        (
            "model={clip_pretrained: null, last_stride: 1}",
            "model: last_stride is 1, but the image tower is a ViT",
        ),
        ("model.backbone=siglib", "model.backbone: unknown backbone 'siglib': did you mean clip?"),
        ("model.backbone=alt", "model.backbone: unknown backbone 'alt': did you mean altclip?"),
        ("model.backbone=[clip]", 'model.backbone is ["clip"], expected text'),
        ("model.tokenizer_type=altclip", "model: tokenizer_type is altclip, but backbone is clip"),
        ("experiment.losses=3", "experiment.losses is 3, expected a section of keys"),
        ("experiment.losses.tal=-1", "experiment.losses.tal is -1, expected at least 0"),
        ("experiment.losses={itc: 1}", "experiment.losses: itc has a switch of its own: set exper"),
        ("evaluation.rerank.k1=9", "evaluation.rerank.k2 and evaluation.rerank.weight are missing"),
        ("distributed.backend=mpi", "is \"mpi\", expected 'auto', 'nccl' or 'gloo'"),
        ("misc.seed=-1", "misc.seed is -1, expected at least 0"),
        ("stages=[]", "stages: there is no stage to train, name one"),
        ("stages=[{}]", "stages[0].name is missing"),
        ("stages=[{name: a}, {name: a}]", "stages: two stages have the same name"),
        ("stages=[{name: a, schedule: {lr: no}}]", 'stages[0].schedule.lr is "no", expected'),
        ("stages=[{name: a, schedule: {lrr: 1}}]", "did you mean stages.schedule.lr?"),
        ("stages=[{name: a, freez: []}]", "did you mean stages.freeze?"),
        ("stages=[{name: a, schedule: {epoch_warmup: 6}}]", "stages[0].schedule: epoch_warmup 6"),
    ],
)
def test_wrong_value_names_place_key_value_and_expectation(setting, complaint):
    message = refusal(setting)
    assert message.startswith("command line: ")
    assert complaint in message
    assert "pydantic" not in message
    assert "\n" not in message


def test_nothing_to_train():
    complaint = "command line: experiment: no loss is left to train"
    assert complaint in refusal("--simplified", "experiment.nitc=false", "experiment.ritc=false")
    assert complaint in refusal("--simplified", "experiment.nitc=false", "experiment.ritc_ratio=0")
    assert configure("experiment.nitc=false", "experiment.ritc=false", "experiment.itc=true")


def test_image_below_a_patch_only_matters_from_scratch():
    assert configure("data.image_size=8").data.image_size == (8, 8)
    message = refusal("data.image_size=[32, 8]", "model.clip_pretrained=null")
    assert "data.image_size: [32, 8] is too small for model.vision.patch_size 16" in message


RN50 = (
    "model.clip_pretrained=null",
    "model.vision={width: 64, layers: [3, 4, 6, 3], heads: 32, patch_size: null}",
)


def test_a_resnet_from_scratch():
    config = configure(*RN50, "model.last_stride=1")
    assert (config.model.vision.layers, config.model.vision.patch_size) == ((3, 4, 6, 3), None)
    message = refusal(*RN50, "model.stride=16")
    assert message == (
        "command line: model: stride is 16, but vision is a ResNet, which has no patches: leave it "
        "null"
    )
    assert "[30, 64] is too small for a ResNet, whose cells have 31 pixels" in refusal(
        *RN50, "data.image_size=[30, 64]"
    )
    assert configure(*RN50, "data.image_size=[30, 64]", "model.last_stride=1")
    assert configure("model.last_stride=1").model.last_stride == 1  # of weights not yet read
    assert "but the image tower is a ViT" in refusal(
        "--backbone", "altclip", "model.altclip_pretrained=x", "model.last_stride=1"
    )


def test_all_mistakes_are_told_at_once_each_with_its_place(write, default):
    path = write("wrong.yaml", default + "data: {batch_size: four, num_workers: -1}")
    assert refusal("--config", path, "data.num_workers=2.5", "log.period=1").splitlines() == [
        "command line: there is no key log.period, did you mean evaluation.period?",
        f'{path}: data.batch_size is "four", expected a whole number',
        "command line: data.num_workers is 2.5, expected a whole number",
    ]


MISPLACED = [
    ("data=5", "data is 5, expected a section of keys"),
    ("data.batch_size.x=1", "data.batch_size.x: data.batch_size takes a value and has no keys"),
    ("data.image_size={x: 1, y: 2}", "data.image_size: data.image_size takes a value and has no"),
    (
        "experiment.model.embed_dim=256",
        "there is no key experiment.model.embed_dim: model is a section of its own, write "
        "model.embed_dim",
    ),
    (
        "schedule={data: {batch_size: 3}}",
        "there is no key schedule.data.batch_size: data is a section of its own, write "
        "data.batch_size",
    ),
    (
        "schedule.data={batch_size: 3, image_root: here}",
        "there is no section schedule.data: data is a section of its own, move it out of schedule",
    ),
    ("stages.train.data.batch_size=3", "there is no key stages[0].data.batch_size: data is a sec"),
    ("stages.train.schedule=3", "stages[0].schedule is 3, expected a section of keys"),
    ("stages.train.schedule.lr.x=3", "stages[0].schedule.lr takes a value and has no keys"),
    ("model.prompts.nctx=4", "prompts is a section of its own, write prompts.n_ctx"),
    ("model.vision=3", "model.vision is 3, expected a section of keys"),
    ("evaluation.rerank=20", "evaluation.rerank is 20, expected a section of keys"),
]


@pytest.mark.parametrize(("setting", "cause"), MISPLACED)
def test_a_misplaced_key_is_one_sentence_whatever_follows_from_it(setting, cause):
    for words in ((setting,), (setting, "data.batch_size=3"), ("schedule.epoch_warmup=9", setting)):
        message = refusal(*words)
        assert message.startswith("command line: ")
        assert cause in message
        assert "\n" not in message


def test_a_key_with_dots_in_a_recipe_is_told_to_nest(write, default):
    path = write("dots.yaml", default + "model.vision.width: 3")
    assert refusal("--config", path) == (
        f"{path}: model.vision.width is one word with dots, nest it in the file: "
        "model: {vision: {width: ...}}"
    )


def test_a_list_that_is_replaced_is_blamed_on_the_layer_that_replaces_it(write, default):
    path = write("one.yaml", default + "stages: [{name: a, freeze: [text]}]")
    message = refusal("--config", path, "stages=[{name: b, freeze: 3}]")
    assert message == "command line: stages[0].freeze is 3, expected a list in [ ]"


def test_recipe_without_base_must_be_whole(write):
    path = write("short.yaml", "misc: {seed: 1}")
    assert refusal("--config", path, "data.batch_size=1") == (
        f"{path}: task, data.annotation_file, data.image_root and 20 more keys are missing, begin "
        "the recipe with `base: config.yaml`"
    )
    assert "task, data, model and 11 more" in refusal("--config", write("empty.yaml", "# none\n"))
    whole = options.dump(configure()).replace("task: text_to_image\n", "")
    assert "whole.yaml: task is missing, begin" in refusal("--config", write("whole.yaml", whole))


def test_recipe_that_cannot_be_read(write, tmp_path):
    assert "cannot read nowhere.yaml" in refusal("--config", "nowhere.yaml")
    assert "cannot read" in refusal("--config", str(tmp_path))
    path = write("lost.yaml", "base: nowhere.yaml")
    assert f"{path}: base: cannot read {tmp_path / 'nowhere.yaml'}" in refusal("--config", path)
    assert "base is 3, expected the name of a YAML file" in refusal(
        "--config", write("three.yaml", "base: 3")
    )
    assert "a recipe is sections of keys" in refusal("--config", write("list.yaml", "[1]"))
    (tmp_path / "latin.yaml").write_bytes(b"data: {image_root: caf\xe9}")
    assert "not a text file in UTF-8" in refusal("--config", str(tmp_path / "latin.yaml"))


def test_bases_that_go_round_are_refused(write):
    one = write("one.yaml", "base: two.yaml")
    write("two.yaml", "base: one.yaml")
    assert "is its own base" in refusal("--config", one)
    assert "is its own base" in refusal("--config", write("own.yaml", "base: own.yaml"))


# ---- command line --------------------------------------------------------------------------------


def test_command():
    command = options.parse(["--evaluate", "runs/a", "--output", "runs/b", "--device", "cpu"])
    assert (command.evaluate, command.resume, command.device) == (("runs/a",), None, "cpu")
    assert command.output == Path("runs/b")
    assert options.parse(["--resume", "auto"]).resume == "auto"


@pytest.mark.parametrize(
    ("words", "recipe"),
    [
        ([], "tbps_clip"),
        (["--simplified"], "tbps_clip-simplified"),
        (["--config", "config/s.config.yaml"], "tbps_clip-simplified"),
        (["--config", "config/demo.yaml"], "demo"),
        (["--config", "config/demo.yaml", "--simplified"], "demo-simplified"),
    ],
)
def test_recipe_has_a_name(words, recipe):
    assert options.parse(words).recipe == recipe


def test_options_and_settings_may_come_in_any_order():
    config = configure(
        "misc.seed=3", "--simplified", "data.batch_size=4", "--device", "cpu", "log.save_period=2"
    )
    assert (config.misc.seed, config.data.batch_size, config.log.save_period) == (3, 4, 2)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--foo"], "unrecognized arguments: --foo"),
        (["--data.batch_size=4"], "settings are written section.key=value"),
        (["--simpl"], "unrecognized arguments: --simpl"),
        (["--config"], "--config: expected one argument"),
        (["train"], "'train' is neither an option nor section.key=value"),
        (["=4"], "'=4' is neither an option nor section.key=value"),
        (["--evaluate", "a", "--resume", "b"], "do not go together"),
        (["--save-features", "a"], "--save-features goes with one --evaluate"),
        (["model.freeze=[a"], "command line: model.freeze=[a, line 1: "),
        (["--backbone", "siglib"], "unknown backbone 'siglib': did you mean clip? (clip, altclip"),
        (["--backbone", ""], "model.backbone: unknown backbone ''"),
        (
            ["--config", "a.yaml", "--config", "b.yaml"],
            "--config is given several times (a.yaml and b.yaml): give one recipe, which may name "
            "several bases by `base: [A, B]`",
        ),
    ],
)
def test_wrong_words(words, complaint):
    message = refusal(*words)
    assert complaint in message
    assert message.startswith("command line: ")
    assert "\n" not in message


def test_saved_configuration_takes_the_recipes_place_unless_one_is_named():
    saved = options.to_tree(configure("data.batch_size=3", "misc.seed=9"))
    before = repr(saved)

    def resume(*words: str) -> options.Config:
        return options.parse(words).configure(saved)

    assert resume("misc.seed=4") == configure("data.batch_size=3", "misc.seed=4")
    assert resume("--simplified") == configure("--simplified")
    assert resume("--backbone", "clip") == configure()
    assert resume("--config", str(ROOT / "config/s.config.yaml")).misc.seed == 0
    assert repr(saved) == before
    for key in ("losses", "clean_captions"):  # keys that have come since
        del saved["experiment"][key]
    del saved["misc"], saved["data"]["languages"]
    assert resume() == configure("data.batch_size=3")
    saved["data"]["batch_size"] = "3"
    with pytest.raises(InputError, match=r"saved with the run: data\.batch_size"):
        resume()


def test_help_loads_nothing_heavy():
    code = (
        "import sys, options\n"
        "try: options.parse(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'numpy', 'transformers', 'open_clip'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for word in ("--config", "--simplified", "--backbone", "--evaluate", "--resume", "--output"):
        assert word in done.stdout
    assert "section.key=value" in done.stdout


# ---- written and read again ----------------------------------------------------------------------


def test_dump_reads_back_equal(tmp_path):
    config = configure(
        "schedule.lr=1.25e-17",
        "schedule.lr_end=0.1",
        "data.image_root='012'",
        "data.annotation_file='1e-5'",
        "model.clip_pretrained='no: #1 ünï'",
        "model.freeze=['true', '~', '0o7', b]",
        "stages=[{name: 'null', schedule: {betas: [0.5, 1e-3]}, freeze: [a]}, {name: yes}]",
    )
    path = tmp_path / "config.yaml"
    path.write_text(options.dump(config), encoding="utf-8")
    assert configure("--config", str(path)) == config
    assert options.parse([]).configure(options.to_tree(config)) == config
    assert "image_size: [224, 224]" in path.read_text(encoding="utf-8")


def test_dump_is_read_alike_by_a_yaml_1_1_reader():
    """Numbers carry a point, so that other tools see numbers too."""
    config = configure()
    assert yaml.safe_load(options.dump(config)) == options.to_tree(config)


def test_tree_is_of_plain_types():
    def kinds(tree: object) -> set[type]:
        if isinstance(tree, dict):
            return {dict}.union(*map(kinds, tree.values()))
        if isinstance(tree, list):
            return {list}.union(*map(kinds, tree))
        return {type(tree)}

    assert kinds(options.to_tree(configure())) <= {dict, list, str, int, float, bool, type(None)}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], "tbps_clip"),
        (["--simplified"], "tbps_clip-simplified"),
        (
            ["--config", str(options.RECIPES / "s.config.yaml"), "--simplified"],
            "tbps_clip-simplified",
        ),
        (["--config", str(options.RECIPES / "demo.yaml"), "--simplified"], "demo-simplified"),
        (["--config", "runs/demo-1/config.yaml"], "demo-1"),
        (["--config", "mine/small.yaml"], "small"),
        (["--config", str(options.RECIPES / "baseline_vit.yaml")], "baseline_vit"),
        (["--config", str(options.RECIPES / "veri776/baseline_vit.yaml")], "veri776-baseline_vit"),
    ],
)
def test_a_recipe_is_named_by_its_file(words, name):
    assert options.parse(words).recipe == name
