"""Sweeps of stand-in runs: means over seeds, pruning, failures, what is written."""

import json
import os
import re
import signal
import threading
import time
from pathlib import Path

import optuna
import pytest

import options
from errors import InputError
from misc.retrieval.base import METRICS
from misc.sweep.progress import Metric
from misc.sweep.study import PRUNERS
from misc.sweep.trial import Judge
from tests.sweep.stand_in import EPOCHS

LR = "keys:\n  schedule.lr: {low: 1e-5, high: 1e-3, log: true}\n"
METRIC = Metric("val", "R1")


def test_the_mean_over_seeds_counts(sweep, tmp_path):
    found = sweep(f"trials: 3\nprune: none\nseeds: [1, 2, 6]\n{LR}")
    best, *others = found["trials"]
    assert found["metric"] == "val/R1"
    assert len(others) == 2
    rate = best["settings"]["schedule.lr"]
    assert rate == max(trial["settings"]["schedule.lr"] for trial in found["trials"])
    level = 10 * EPOCHS + 1000 * rate
    assert best["values"] == pytest.approx({"1": level + 1, "2": level + 2, "6": level + 6})
    assert best["mean"] == pytest.approx(level + 3)
    assert best["deviation"] == pytest.approx(7**0.5)  # of 1, 2 and 6
    page = (tmp_path / "out" / "sweep.md").read_text()
    assert f"| {best['trial']} | {best['mean']:.2f} ± 2.65 | {rate:.4g} |" in page
    assert "| CUHK-PEDES test | text to image | 53.00 ± 2.65 |" in page
    recipe = options.parse(["--config", str(tmp_path / "out" / "best.yaml")]).configure()
    assert recipe.schedule.lr == rate
    assert recipe.schedule.epoch == EPOCHS  # of the command line


def test_seeds_alone_are_one_trial(sweep):
    (trial,) = sweep("seeds: [0, 4]")["trials"]
    assert (trial["settings"], trial["mean"]) == ({}, 10 * EPOCHS + 2)


def test_a_sweep_that_has_ended_is_extended_and_no_other(sweep, tmp_path):
    first = sweep(f"trials: 1\n{LR}")["trials"]
    made = (tmp_path / "out/trials/000-seed-0/results.json").stat().st_mtime_ns
    more = sweep(f"trials: 2\n{LR}")["trials"]
    assert (tmp_path / "out/trials/000-seed-0/results.json").stat().st_mtime_ns == made
    assert first[0] in more
    assert len(more) == 2
    with pytest.raises(InputError, match="already contains a sweep with other settings"):
        sweep(f"trials: 2\nseed: 5\n{LR}")
    with pytest.raises(InputError, match="already contains a sweep with other settings"):
        sweep(f"trials: 2\n{LR}", "data.batch_size=4")


def test_a_folder_with_something_else_is_refused(sweep, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").touch()
    with pytest.raises(InputError, match=r"contains notes\.txt and no sweep"):
        sweep("seeds: [0]")


def test_a_failed_trial_is_listed_last(sweep):
    found = sweep("keys: {schedule.lr: [0.001, 0.5]}")
    assert [trial["state"] for trial in found["trials"]] == ["ended", "failed"]
    assert found["trials"][1]["note"] == "the training has diverged; lower schedule.lr"


def test_three_failures_in_a_row_end_the_sweep(sweep):
    with pytest.raises(InputError, match=r"3 trials in a row have failed, the last one: the train"):
        sweep("keys: {schedule.lr: [0.5, 0.6, 0.7, 0.8]}")


def test_a_sweep_without_a_trial_that_has_ended_fails(sweep, tmp_path):
    with pytest.raises(InputError, match=r"every trial of the sweep has failed, the last one: the"):
        sweep("keys: {schedule.lr: [0.5, 0.6]}")
    assert len(json.loads((tmp_path / "out" / "sweep.json").read_text())["trials"]) == 2


def test_a_hopeless_trial_is_stopped_and_saves_its_state(sweep, tmp_path, monkeypatch):
    sweep(f"trials: 5\n{LR}")
    monkeypatch.setenv("STAND_IN_HANGS", "1")
    last = sweep(f"trials: 6\n{LR}")["trials"][-1]
    assert (last["trial"], last["state"]) == (5, "pruned")
    assert last["note"] == "after epoch 1, at 0.00"
    assert (tmp_path / "out/trials/005-seed-0/checkpoint_last.pt").is_file()
    assert not (tmp_path / "out/trials/005-seed-0/results.json").exists()


def test_sigterm_stops_the_run_of_the_moment(sweep, tmp_path, monkeypatch):
    record = tmp_path / "out/trials/000-seed-0/metrics.jsonl"

    def terminate() -> None:
        while not (record.exists() and record.stat().st_size):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setenv("STAND_IN_HANGS", "1")
        thread = threading.Thread(target=terminate)
        thread.start()
        with pytest.raises(SystemExit) as end:
            sweep(f"trials: 1\n{LR}")
        thread.join()
    assert end.value.code == 143
    assert (record.parent / "checkpoint_last.pt").is_file()
    assert signal.getsignal(signal.SIGTERM) == before
    (trial,) = sweep(f"trials: 1\n{LR}")["trials"]
    assert trial["state"] == "ended"


def test_importance_needs_trials(sweep, tmp_path):
    keys = f"{LR}  experiment.dropout: {{low: 0, high: 0.5}}\n"
    sweep(f"trials: 3\nprune: none\n{keys}")
    page = (tmp_path / "out" / "sweep.md").read_text()
    assert "needs 10 trials that have ended, and there are 3" in page
    assert not (tmp_path / "out" / "importance.png").exists()
    sweep(f"trials: 10\nprune: none\n{keys}")
    page = (tmp_path / "out" / "sweep.md").read_text()
    share = re.search(r"Importance over 10 trials \(importance\.png\): schedule\.lr (\d+) %", page)
    assert int(share[1]) > 75  # the stand-in knows no dropout
    assert (tmp_path / "out" / "importance.png").stat().st_size > 1000


def judge(values: list[float], folder: Path, last_epoch: int = 3, prune: str = "median") -> Judge:
    """The judge of a trial after five others, whose median is 30 after the first epoch."""
    study = optuna.create_study(direction="maximize", pruner=PRUNERS[prune]())
    for level in (10.0, 20.0, 30.0, 40.0, 50.0):
        curve = {1: level, 2: level + 10, 3: level + 20}
        study.add_trial(optuna.create_trial(value=level + 20, intermediate_values=curve))
    rows = [{"split": "val", "epoch": epoch, "R1": v} for epoch, v in enumerate(values, 1)]
    text = "".join(json.dumps(row) + "\n" for row in [{"loss": 1.0}, *rows])
    (folder / "metrics.jsonl").write_text(text + '{"split": "val", "epo')  # half written
    return Judge(study.ask(), METRIC, folder, last_epoch)


@pytest.mark.parametrize(
    ("values", "last_epoch", "prune", "pruned"),
    [
        ([29.0], 3, "median", True),
        ([31.0], 3, "median", False),
        ([31.0, 39.0], 3, "median", True),
        ([31.0, 41.0], 3, "median", False),
        ([31.0, 39.0], 2, "median", False),  # it has ended: nothing is saved
        ([29.0], 3, "none", False),
        ([], 3, "median", False),
    ],
)
def test_a_trial_below_the_median_of_the_others_is_pruned(
    tmp_path, values, last_epoch, prune, pruned
):
    judged = judge(values, tmp_path, last_epoch, prune)
    assert judged() is pruned
    assert judged() is pruned  # nothing new
    again = Judge(judged.trial, METRIC, tmp_path, last_epoch)  # after an interruption
    assert again() is pruned


def test_metrics_are_those_of_the_record(sweep):
    with pytest.raises(InputError, match=re.escape(f"choose one of {', '.join(METRICS)} for R2")):
        sweep("metric: val/R2\nseeds: [0]")
