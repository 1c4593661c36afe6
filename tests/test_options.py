"""The command line: options, settings, and the name of the recipe."""

import subprocess
import sys
from pathlib import Path

import pytest

import options
from errors import InputError
from tests import ROOT
from tests.command_line import configure, refusal

NAMING = ("--output", "--resume", "--evaluate", "--config", "--save-features")


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
        (["--backbone", "alclip"], "unknown backbone 'alclip': did you mean altclip? (clip, "),
        (
            ["--save-features", ".", "--evaluate", "a"],
            "features: . is a folder, give a file",
        ),
        (["--output", str(ROOT / "main.py")], "main.py is a file, give a folder"),
        *[([name, ""], f"argument {name}: it is empty; is a variable") for name in NAMING],
        (
            ["misc.seed=1", "log.print_period=2", "misc.seed=2"],
            "misc.seed=1 and misc.seed=2 set the same key; give one of them",
        ),
        (["--allow-changes"], "--allow-changes goes with --resume"),
        (["--overwrite"], "--overwrite goes with --output"),
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
    for key in ("test_share", "camera_pattern"):
        del saved["reid"][key]
    del saved["misc"], saved["data"]["languages"]
    assert resume() == configure("data.batch_size=3")
    saved["data"]["batch_size"] = "3"
    with pytest.raises(InputError, match=r"saved with the run: data\.batch_size"):
        resume()


def test_a_run_that_names_its_mixture_keeps_it_under_a_recipe():
    """Older runs have all of its values, which were defaults then."""
    mixture = {"max_iter": 10, "tol": 0.01, "reg": 0.0005}
    saved = options.to_tree(configure(f"experiment.mixture={mixture}"))

    def fit(*words: str) -> dict[str, float] | None:
        config = options.parse(("--config", "rde", *words)).configure(saved)
        return options.to_tree(config)["experiment"]["mixture"]

    assert fit() == mixture
    assert fit("experiment.mixture.max_iter=30") == {**mixture, "max_iter": 30}
    assert fit("experiment.mixture=null") is None


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
