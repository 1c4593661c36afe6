"""The file of a sweep, checked before anything is built."""

import importlib.util
import subprocess
import sys

import pytest

import options
from errors import InputError
from misc.sweep.plan import plan_sweep
from misc.sweep.settings import Range
from tests import ROOT
from tests.sweep.conftest import DEMO

LR = "keys: {schedule.lr: {low: 1e-5, high: 1e-3}}"


@pytest.fixture
def refusal(tmp_path, monkeypatch):
    """The message that a sweep is refused with."""
    monkeypatch.chdir(tmp_path)

    def refusal(text: str, *words: str) -> str:
        (tmp_path / "s.yaml").write_text(text)
        with pytest.raises(InputError) as caught:
            plan_sweep(options.parse(["--sweep", "s.yaml", *words]))
        assert [file.name for file in tmp_path.iterdir()] == ["s.yaml"]
        return str(caught.value)

    return refusal


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"trails: 3\n{LR}", "s.yaml: there is no key trails, did you mean trials?"),
        ("schedule.lr: [1, 2]", "schedule.lr: keys of the configuration are given below `keys:`"),
        ("trials: many\nseeds: [0]", 's.yaml: trials is "many", expected a whole number'),
        ("trials: 0\nseeds: [0]", "s.yaml: trials is 0, expected at least 1"),
        ("seed: 3", "s.yaml: neither keys nor seeds are given"),
        ("seeds: []", "s.yaml: seeds is [], expected 1 or more values"),
        ("seeds: [1, 1]", "s.yaml: seeds: 1, 1: give each seed once"),
        ("seeds: [1]\ntrials: 2", "s.yaml: trials are samples of keys, and no keys are given"),
        (f"metric: R1\n{LR}", 's.yaml: metric is "R1", expected SPLIT/METRIC, as in val/R1'),
        (f"prune: mean\n{LR}", "s.yaml: prune is \"mean\", expected 'none', 'median' or"),
        ("keys: {misc.seed: [1, 2]}", "s.yaml: keys: misc.seed is varied by `seeds: [0, 1, 2]`"),
        (
            "keys: {schedule.lr: 0.1}",
            "s.yaml: keys.schedule.lr is 0.1, expected choices in [ ], or a range {low: ..., high:",
        ),
        ("keys: {schedule.lr: {low: 1}}", "s.yaml: keys.schedule.lr.high is missing"),
        (
            "keys: {schedule.lr: {lo: 1, high: 2, low: 1}}",
            "there is no key keys.schedule.lr.lo, did you mean keys.schedule.lr.low?",
        ),
        ("keys: {schedule.lr: {low: 2, high: 1}}", "keys.schedule.lr: low 2 is not below high 1"),
        (
            "keys: {schedule.lr: {low: 0, high: 1, log: true}}",
            "keys.schedule.lr: log needs a low above 0, not 0",
        ),
        (
            "keys: {schedule.epoch: {low: 1, high: 4, step: 7}}",
            "keys.schedule.epoch: step 7 leads from low 1 beyond high 4",
        ),
        ("- 1", "s.yaml: a sweep is sections of keys, not [1]"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(refusal, text, sentence):
    assert sentence in refusal(text)


@pytest.mark.parametrize("values", [(1, 4, 3), (0.1, 0.3, 0.2), (1e-5, 3e-5, 2e-5)])
def test_a_step_may_be_as_wide_as_the_range(values):
    low, high, step = values
    assert Range(low=low, high=high, step=step).step == step


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ("schedule.lrr: [1e-3]", "s.yaml, keys: there is no key schedule.lrr, did you mean"),
        ("schedule.lr: {low: -1, high: 1}", "s.yaml, keys: schedule.lr is -1, expected above 0"),
        ("experiment.dropout: {low: 0, high: 1}", "experiment.dropout is 1, expected below 1"),
        ("schedule.epoch: {low: 1.5, high: 3}", "schedule.epoch is 1.5, expected a whole number"),
        ("schedule.epoch: {low: 1, high: 3, step: 0.5}", "schedule.epoch takes whole numbers, and"),
        ("experiment.select_on: [val, tset]", "experiment.select_on is \"tset\", expected 'val'"),
        ("data.image_size: {low: 32, high: 64}", "data.image_size takes no number: give its"),
        (
            "schedule.epoch: [2, 4]\n  schedule.epoch_warmup: [1, 3]",
            "s.yaml, keys: schedule: epoch_warmup 3 is more than epoch 2",
        ),
    ],
)
def test_a_value_that_the_configuration_refuses_is_refused(refusal, keys, sentence):
    assert sentence in refusal(f"recipe: {DEMO}\nkeys:\n  {keys}")


def test_what_the_command_line_and_the_file_disagree_about(refusal, monkeypatch):
    assert "recipe is a.yaml, and --config b.yaml is given" in refusal(
        f"recipe: a.yaml\n{LR}", "--config", "b.yaml"
    )
    assert "metric is test/R1, but experiment.select_on is val" in refusal(f"metric: test/R1\n{LR}")
    assert "experiment.select_on is last" in refusal(LR, "experiment.select_on=last")
    with pytest.raises(InputError, match="--sweep and --resume do not go together"):
        options.parse(["--sweep", "s.yaml", "--resume", "auto"])
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "start it without torchrun, and give `processes: N` in s.yaml" in refusal(LR)


def test_the_configuration_below_a_sweep_is_no_file_that_it_writes(tmp_path, monkeypatch):
    """Not even where it is the best of another sweep."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.yaml").write_text(f"base: {DEMO}\n")
    (tmp_path / "s.yaml").write_text(LR)
    words = ["--sweep", "s.yaml", "--config", "best.yaml", "--output", "out"]
    plan = plan_sweep(options.parse(words))
    plan.folder.mkdir()
    plan.claim_folder()
    assert plan.base.relative_to("out").as_posix() == "base/best.yaml"
    assert options.parse(["--config", str(plan.base)]).configure() == plan.config


def test_optuna_is_asked_for_in_a_sentence(refusal, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "optuna" else find(name)
    )
    assert refusal(LR) == "main.py --sweep needs optuna: pip install optuna"


def test_a_mistake_does_not_wait_for_torch(tmp_path):
    (tmp_path / "s.yaml").write_text("trails: 3")
    code = (
        "import sys, main\n"
        "try: main.main()\n"
        "finally: assert not {'torch', 'optuna'} & {*sys.modules}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--sweep", str(tmp_path / "s.yaml")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
