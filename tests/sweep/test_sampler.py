"""Samples of a sweep: the same for the same seed, however often it was interrupted."""

import optuna
import pytest

import options
from misc.sweep.sampler import SeededSampler
from misc.sweep.settings import SweepSettings
from misc.sweep.space import Space
from tests.sweep.conftest import DEMO

BASE = options.to_tree(options.parse(["--config", DEMO]).configure())
KEYS = {
    "schedule.lr": {"low": 1e-5, "high": 1e-3, "log": True},
    "schedule.epoch": {"low": 2, "high": 6},
    "experiment.dropout": {"low": 0, "high": 0.5, "step": 0.25},
    "data.image_size": [[32, 16], 24],
}


def settings(keys: dict) -> SweepSettings:
    return SweepSettings.model_validate({"keys": keys}, strict=False)


def draw_all(interrupted: bool, seed: int = 3, trials: int = 14) -> list[dict]:
    """Samples of a study; an interruption comes before the last key of each trial is drawn."""
    study = optuna.create_study(sampler=SeededSampler(seed))
    keys = settings(KEYS).keys
    space = Space(BASE, keys, "test")
    few = Space(BASE, dict([*keys.items()][:3]), "test")
    drawn = []
    for _ in range(trials):
        trial = study.ask()
        if interrupted:
            few.draw(trial)
            study.sampler = SeededSampler(seed)
            trial = optuna.Trial(study, trial._trial_id)
        drawn.append(space.draw(trial))
        study.tell(trial, drawn[-1]["schedule.lr"])
    return drawn


pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def test_samples_are_the_same_after_an_interruption():
    drawn = draw_all(interrupted=False)
    assert draw_all(interrupted=True) == drawn
    assert draw_all(interrupted=False, seed=4) != drawn
    assert {type(one["schedule.epoch"]) for one in drawn} == {int}
    assert {one["experiment.dropout"] for one in drawn} == {0.0, 0.25, 0.5}
    assert all(1e-5 <= one["schedule.lr"] <= 1e-3 for one in drawn)
    assert all(one["data.image_size"] in ([32, 16], 24) for one in drawn)
    assert len({one["schedule.lr"] for one in drawn}) == len(drawn)


def test_a_grid_is_drawn_once():
    grid = settings({"schedule.epoch": [2, 4], "model.freeze": [[], ["visual"], ["text"]]})
    assert (grid.is_grid, grid.num_trials) == (True, 6)
    assert not settings(KEYS).is_grid
    space = Space(BASE, grid.keys, "test")
    study = optuna.create_study(sampler=SeededSampler(0, exhaustive=True))
    drawn = []
    for _ in range(grid.num_trials):
        trial = study.ask()
        drawn.append(tuple(map(str, space.draw(trial).values())))
        study.tell(trial, 0.0)
    assert len({*drawn}) == 6
