"""Whole runs on a tiny dataset: what they leave behind, and what an interruption costs."""

import json
import math
import os
import signal
import time
from pathlib import Path

import pytest
import torch

import main
import options
from errors import InputError
from misc.runtime.checkpoint import BEST, LAST, open_checkpoint
from misc.runtime.precision import Precision
from misc.runtime.signals import Request, Requests
from misc.training.engine import Engine, Selection
from misc.training.trainer import Trainer
from model.interface import Batch
from tests.command_line import parse
from tests.conftest import SMALL, Interruption
from tests.fuzz.injections import Injection

DEMO = str(options.RECIPES / "demo.yaml")


@pytest.fixture
def train(places, tmp_path, monkeypatch):
    """Run main.py in a folder of its own; the result is the run's folder."""
    monkeypatch.chdir(tmp_path)

    def train(*words: str, output: str = "run") -> Path:
        few = ("schedule.epoch=3", "log.print_period=4")
        arguments = ["--config", DEMO, "--output", output, *SMALL, *places, *few, *words]
        main.run(parse(arguments))
        return tmp_path / output

    return train


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder: Path, name: str = LAST) -> dict[str, torch.Tensor]:
    return open_checkpoint(folder / name).state


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_run_leaves_its_record(train, capsys):
    folder = train()
    names = {file.name for file in folder.iterdir()}
    assert names >= {BEST, LAST, "config.yaml", "log.txt", "metrics.jsonl"}
    assert not [name for name in names if name.endswith(".partial")]

    steps = [row for row in rows(folder) if "loss" in row]
    assert all(row["loss"] == pytest.approx(row["nitc"] + row["ritc"]) for row in steps)
    assert {"step", "epoch", "stage", "lr", "samples_per_second"} <= steps[0].keys()
    evaluations = [row for row in rows(folder) if "split" in row]
    assert {"split", "epoch", "R1", "R5", "R10", "mAP", "mINP"} <= evaluations[0].keys()
    assert [row["split"] for row in evaluations] == ["val"] * 6 + ["test"] * 2
    assert {row["direction"] for row in evaluations} == {"text to image", "image to text"}

    best = open_checkpoint(folder / BEST)
    scores = [row["R1"] for row in evaluations if row["direction"] == "text to image"][:3]
    assert best.epoch == 1 + scores.index(max(scores))
    printed = capsys.readouterr().out
    assert f"test split: epoch {best.epoch}, the best on val" in printed
    saved = parse(["--config", str(folder / "config.yaml")]).configure()
    assert options.to_tree(saved) == best.config


def test_evaluation_alone_gives_the_same_numbers(train, tmp_path, capsys):
    folder = train()
    main.run(parse(["--evaluate", str(folder), "--output", "again"]))
    trained, again = (
        [r for r in rows(f) if r.get("split") == "test"] for f in (folder, tmp_path / "again")
    )
    for first, second in zip(trained, again, strict=True):
        own = ("step", "chosen", "seconds")
        first, second = ({k: v for k, v in r.items() if k not in own} for r in (first, second))
        assert first == second
    assert "run/checkpoint_best.pt" in capsys.readouterr().out


@pytest.mark.parametrize("saves", [1, 2, 3, 5])
def test_a_resumed_run_ends_in_the_same_weights_bit_by_bit(train, interrupt, saves):
    """Interrupted after any checkpoint, within an epoch (the odd ones) or between two."""
    settings = ("log.save_period=7", "experiment.mvs_image=true", "schedule.clip_grad=1.0")
    whole = train(*settings, output="whole")
    interrupt(lambda: train(*settings, output="broken"), saves)
    assert open_checkpoint(whole.parent / "broken" / LAST).training.position.step > 0
    resumed = train(*settings, "--resume", "auto", output="broken")
    assert equal(weights(whole), weights(resumed))
    assert equal(weights(whole, BEST), weights(resumed, BEST))
    first, second = (open_checkpoint(f / LAST).training.position for f in (whole, resumed))
    assert first == second

    def numbers(folder: Path) -> list[dict]:
        costs = ("samples_per_second", "peak_memory_gib", "seconds")
        return [{k: v for k, v in row.items() if k not in costs} for row in rows(folder)]

    assert numbers(whole) == numbers(resumed)


@pytest.mark.parametrize("step", [3, "last"])
def test_sigterm_saves_and_leaves_and_the_run_goes_on_bit_by_bit(train, monkeypatch, step, capsys):
    whole = train(output="whole")
    if step == "last":  # of the first epoch: it is evaluated after the resumption
        step = open_checkpoint(whole / LAST).training.position.step // 3

    send_at(monkeypatch, step, signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        train(output="broken")
    assert left.value.code == 143
    done = open_checkpoint(whole.parent / "broken" / LAST).training.position
    assert (done.epoch, done.step, done.best_epoch) == (0, step, 0)
    kept = f"broken/checkpoint_last.pt is kept, from epoch 0, step {step}"
    assert f"SIGTERM: leaving at step {step}; {kept}" in capsys.readouterr().out

    monkeypatch.undo()
    resumed = train("--resume", "auto", output=str(whole.parent / "broken"))
    assert equal(weights(whole), weights(resumed))
    assert equal(weights(whole, BEST), weights(resumed, BEST))
    first, second = ([r for r in rows(f) if "split" in r] for f in (whole, resumed))
    assert all(row.pop("seconds") > 0 for row in (*first, *second))
    assert first == second


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupted_evaluation_costs_no_step(train, monkeypatch, moment):
    """Nor does an end between an evaluation and the checkpoint after it."""
    few = ("schedule.epoch=2", "evaluation.ranked_lists=0")
    whole = train(*few, output="whole")
    select = Engine._select

    def stop(self: Engine, selection: Selection) -> None:
        if moment == "after":
            select(self, selection)
        raise Interruption

    monkeypatch.setattr(Engine, "_select", stop)
    with pytest.raises(Interruption):
        train(*few, output="broken")
    monkeypatch.undo()
    monkeypatch.chdir(whole.parent)
    done = open_checkpoint(Path("broken") / LAST).training.position
    assert done.step == open_checkpoint(whole / LAST).training.position.step // 2
    resumed = train(*few, "--resume", "auto", output="broken")
    assert equal(weights(whole), weights(resumed))
    assert equal(weights(whole, BEST), weights(resumed, BEST))
    first, second = (open_checkpoint(f / LAST).training.position for f in (whole, resumed))
    assert first == second
    kept = ([(r["epoch"], r["step"]) for r in rows(f)] for f in (whole, resumed))
    assert next(kept) == next(kept)


def test_requests_are_waited_for_before_an_evaluation_and_after_it(train, monkeypatch):
    """Between the steps no process waits for the requests to the others."""
    read, waits = Requests.read, []

    def note(self: Requests, now: bool = False) -> Request:
        waits.append(now)
        return read(self, now)

    monkeypatch.setattr(Requests, "read", note)
    folder = train("schedule.epoch=2")
    steps = open_checkpoint(folder / LAST).training.position.step // 2
    assert waits == 2 * [*(steps - 1) * [False], True, True]


def send_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Send a signal to this process within a step."""
    take_step = Trainer.step

    def take_and_send(self: Trainer, batch: Batch, own: int) -> object:
        if own + 1 == step:
            os.kill(os.getpid(), number)
            time.sleep(0.1)
        return take_step(self, batch, own)

    monkeypatch.setattr(Trainer, "step", take_and_send)


def saved_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps of checkpoints to come, in a list that grows."""
    saved = []
    save = Engine._save

    def look(self: Engine, trainer: Trainer) -> None:
        saved.append(self.position.step)
        save(self, trainer)

    monkeypatch.setattr(Engine, "_save", look)
    return saved


def test_sigusr1_saves_and_goes_on(train, monkeypatch):
    saved = saved_steps(monkeypatch)
    send_at(monkeypatch, 3, signal.SIGUSR1)
    folder = train("schedule.epoch=1")
    last = open_checkpoint(folder / LAST).training.position.step
    assert saved == [3, last, last]  # before the evaluation and after it


def bad_step(step: int) -> Injection:
    """A loss that is not a number in a step, counted from 1."""
    return Injection("loss", math.nan, step - 1, rank=0, seed=0)


def test_sigterm_at_a_bad_step_tells_what_is_kept(train, monkeypatch, tmp_path, capsys):
    send_at(monkeypatch, 3, signal.SIGTERM)
    with bad_step(3).active(), pytest.raises(SystemExit):
        train("log.save_period=2")
    kept = open_checkpoint(tmp_path / "run" / LAST).training.position
    assert (kept.epoch, kept.step) == (0, 2)
    said = "leaving at step 3; run/checkpoint_last.pt is kept, from epoch 0, step 2"
    assert said in capsys.readouterr().out


def test_sigusr1_at_a_bad_step_saves_after_the_next_good_one(train, monkeypatch):
    saved = saved_steps(monkeypatch)
    send_at(monkeypatch, 3, signal.SIGUSR1)
    with bad_step(3).active(), bad_step(4).active():
        train("schedule.epoch=1")
    assert saved[0] == 5


def test_resume_auto_without_a_run_begins_one(train):
    assert (train("--resume", "auto", "schedule.epoch=1") / LAST).is_file()


def test_a_run_is_not_overwritten(train):
    folder = train("schedule.epoch=1")
    before = (folder / LAST).read_bytes()
    with pytest.raises(InputError, match=r"--output run already contains a run.*--resume auto"):
        train("schedule.epoch=1")
    assert (folder / LAST).read_bytes() == before


def test_a_finished_run_goes_on_when_it_is_given_more_epochs(train):
    folder = train("schedule.epoch=1")
    assert len([row for row in rows(folder) if row.get("split") == "test"]) == 2
    train("schedule.epoch=2", "--resume", "auto")
    assert open_checkpoint(folder / LAST).epoch == 2
    assert len([row for row in rows(folder) if row.get("split") == "test"]) == 2


def test_a_run_goes_on_in_its_own_folder_from_its_last_checkpoint(train, tmp_path):
    folder = train("schedule.epoch=1")
    with pytest.raises(InputError, match=r"--output other is not the folder of run/"):
        train("--resume", "run", output="other")
    with pytest.raises(InputError, match=r"checkpoint_best.pt holds only weights"):
        train("--resume", f"run/{BEST}")
    train("--resume", "run", "schedule.epoch=2", output=str(tmp_path / "run"))
    (folder / BEST).unlink()
    with pytest.raises(InputError, match=r"run has no checkpoint_best.pt"):
        train("--resume", "run")


def test_other_batches_than_the_checkpoint_was_trained_with_are_refused(train):
    train("schedule.epoch=1")
    with pytest.raises(
        InputError, match=r"data.global_batch_size \(or data.batch_size .* differs from the run's"
    ):
        train("--resume", "auto", "schedule.epoch=2", "data.batch_size=5")


def test_changed_settings_of_the_optimizer_hold_after_a_resumption(train, monkeypatch):
    train("schedule.epoch=1")
    groups = []
    step = Trainer.step

    def look(self: Trainer, *arguments: object) -> object:
        groups.append([g["weight_decay"] for g in self.optimizer.param_groups])
        return step(self, *arguments)

    monkeypatch.setattr(Trainer, "step", look)
    train("schedule.epoch=2", "schedule.weight_decay=0.5", "--resume", "auto", "--allow-changes")
    assert groups[0] == [0.0, 0.5] or groups[0] == [0.5, 0.0]


def test_a_resumption_that_trains_other_parameters_is_refused(train):
    train("schedule.epoch=1")
    with pytest.raises(InputError, match=r"model.freeze was \[.*begin another"):
        train("schedule.epoch=2", "model.freeze=[visual]", "--resume", "auto")


@pytest.mark.parametrize(
    ("before", "after"), [("fp32", "fp16"), ("fp16", "bf16"), ("fp16", "fp16")]
)
def test_a_run_goes_on_in_another_precision(train, before, after):
    train("schedule.epoch=1", f"experiment.precision={before}")
    changed = (f"experiment.precision={after}", "--allow-changes")
    folder = train("schedule.epoch=2", *changed, "--resume", "auto")
    assert open_checkpoint(folder / LAST).epoch == 2


def test_two_runs_of_the_same_second_have_folders_of_their_own(places, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda _: "20260101-000000")
    for _ in range(2):
        main.run(parse(["--config", DEMO, *SMALL, *places, "schedule.epoch=1"]))
    names = {folder.name for folder in (tmp_path / "runs").iterdir()}
    assert names == {"demo-20260101-000000", "demo-20260101-000000+"}


def test_stages_follow_each_other_with_their_own_schedule_and_parameters(train):
    stages = (
        "[{name: text, freeze: [visual], schedule: {epoch: 1}}, {name: both, schedule: {epoch: 2}}]"
    )
    folder = train(f"stages={stages}")
    steps = [row for row in rows(folder) if "loss" in row]
    assert [row["stage"] for row in steps if row["epoch"] == 1] == ["text"] * sum(
        row["epoch"] == 1 for row in steps
    )
    assert {row["epoch"] for row in steps if row["stage"] == "both"} == {2, 3}
    log = (folder / "log.txt").read_text()
    assert log.index("Stage text: 1 epoch x") < log.index("Stage both: 2 epochs x")


def test_a_frozen_tower_keeps_its_weights(train):
    trained = train("model.freeze=[visual]", "schedule.epoch=1", output="one")
    longer = train("model.freeze=[visual]", "schedule.epoch=2", output="two")
    first, second = weights(trained), weights(longer)
    for name in first:
        frozen = name.startswith("clip.visual")
        assert torch.equal(first[name], second[name]) == frozen, name


def test_the_last_epoch_is_the_model_when_asked(train, capsys):
    folder = train("experiment.select_on=last", "schedule.epoch=1")
    assert not (folder / BEST).exists()
    assert "epoch 1, the last" in capsys.readouterr().out


def test_choosing_on_the_test_split_is_named(train, capsys):
    train("experiment.select_on=test", "schedule.epoch=1")
    assert "the best on test itself, as is published" in capsys.readouterr().out


def test_a_diverged_training_stops_in_a_sentence(train):
    with pytest.raises(InputError, match=r"not finite in 10 steps in a row: .*; no checkpoint"):
        train("schedule.lr=1e30", "schedule.epoch_warmup=0")


def test_the_logit_scale_stays_at_its_limit(train):
    folder = train("schedule.epoch=1", "schedule.lr=1", "schedule.weight_decay=0")
    assert weights(folder)["clip.logit_scale"] <= math.log(100)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_trains(train, precision):
    folder = train(f"experiment.precision={precision}", "schedule.epoch=1")
    assert all(math.isfinite(row["loss"]) for row in rows(folder) if "loss" in row)
    assert all(t.dtype == torch.float32 for t in weights(folder).values())


def test_precision_follows_the_device():
    assert Precision("auto", torch.device("cpu")).name == "fp32"


def test_weights_that_are_not_finite_are_not_evaluated(train, tmp_path, monkeypatch):
    """Weights after the last step of an epoch, which no later step can show to be bad."""
    step = Trainer.step

    def spoil(self: Trainer, batch: Batch, number: int) -> tuple:
        taken = step(self, batch, number)
        if number + 1 == len(self.stage.loader):
            self.trained[0].detach().fill_(float("nan"))
        return taken

    monkeypatch.setattr(Trainer, "step", spoil)
    with pytest.raises(InputError, match=r"has values that are not finite at step \d+: the train"):
        train("log.save_period=0")
    assert not [*tmp_path.rglob("*.pt")]
    assert not [row for row in rows(tmp_path / "run") if "split" in row]
