"""The sweeps of the benchmarks: a run is made once, and only with the settings that are asked."""

import re

import pytest

import options
from benchmarks.ablation import ROWS, to_table
from benchmarks.sweep import CONSOLE, RESULTS, Run, make_all
from errors import InputError
from model.criterion import LOSSES
from tests.conftest import SMALL

DEMO = str(options.RECIPES / "demo.yaml")


def test_a_run_is_made_once_and_with_its_own_settings(places, tmp_path):
    arguments = ("--config", DEMO, *SMALL, *places, "schedule.epoch=1")
    run = Run(tmp_path / "run", arguments)
    make_all([run])
    made = (run.folder / RESULTS).stat().st_mtime_ns
    make_all([run], jobs=2)
    assert (run.folder / RESULTS).stat().st_mtime_ns == made
    results = run.results()["CUHK-PEDES test"]
    assert 0 <= results["text to image"]["R1"] <= 100
    with pytest.raises(InputError, match="a run with other settings"):
        make_all([Run(run.folder, (*arguments, "misc.seed=9"))])
    table = to_table({"row": [run, run]})
    assert re.search(r"\| row \| \d+\.\d\d ± 0\.00 \|", table)


def test_a_run_that_fails_says_where_it_is_told(places, tmp_path):
    run = Run(tmp_path / "run", ("--config", DEMO, *SMALL, places[0], "data.image_root=absent"))
    with pytest.raises(InputError, match=f"status 2: see the end of .*{CONSOLE}"):
        make_all([run])
    assert "data.image_root: neither absent nor" in (run.folder / CONSOLE).read_text()
    assert not run.done


@pytest.mark.parametrize("row", ROWS)
def test_every_row_switches_losses_that_there_are(row):
    recipe = ["--config", "benchmarks/small.yaml"]
    words = [f"experiment.{key}={value}" for key, value in ROWS[row].items()]
    weights = options.parse([*recipe, *words]).configure().experiment.loss_weights()
    assert weights
    assert weights.keys() <= LOSSES.keys()
