"""When a run reports, evaluates and saves, with the tiny method: step by step, by hand."""

import logging
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from tqdm import tqdm

from errors import InputError
from misc.runtime.checkpoint import BEST, LAST, Position, RunIdentity, TrainingState
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.training.engine import Engine, Selection
from misc.training.trainer import Stage, TrainingSettings
from tests.training.test_step import BATCH, CPU, Squares, Tiny


class Loader:
    """Batches of an epoch; what it is asked to start with is recorded."""

    def __init__(self, steps: int) -> None:
        self.steps, self.started, self.first = steps, [], 0
        self.sampler = SimpleNamespace(batch_size=len(BATCH), parts=lambda size: 1)

    def __len__(self) -> int:
        return self.steps

    def start(self, epoch: int, first_step: int) -> None:
        self.started.append((epoch, first_step))
        self.first = first_step

    def __iter__(self) -> Iterator:
        return iter([BATCH] * (self.steps - self.first))


class Run:
    """An engine on the tiny method, and what it writes."""

    def __init__(
        self, folder, rows=(70.0, 80.0, 80.0, 90.0), *, period=1, rank=0, **settings: int
    ) -> None:
        torch.manual_seed(0)
        self.model, self.rows, self.saved = Tiny(0.0), [], []
        self.results, self.evaluated = iter(rows), []
        recorder = SimpleNamespace(folder=folder, write=self.rows.append)
        self.engine = Engine(
            self.model,
            Processes(rank, 1, CPU),
            Precision("fp32", CPU),
            recorder,
            identity=RunIdentity({}, "tiny", None),
            settings=TrainingSettings(seed=1, chunk=8, **settings),
            selection=Selection("val", self.evaluate, "mAP", period),
        )
        self.engine._write = self.write

    def evaluate(self, model: Tiny) -> dict[str, dict[str, float]]:
        model.eval()
        self.evaluated.append(self.engine.position.epoch)
        value = next(self.results)
        return {"first": {"R1": 5.0, "mAP": value}, "second": {"R1": 6.0, "mAP": 99.0}}

    def write(self, name: str, training: TrainingState | None = None) -> None:
        self.saved.append((name, self.engine.position.step))

    def stage(self, name: str, steps: int, epochs: int, selects: bool = True) -> Stage:
        parameters = [{"params": list(self.model.parameters()), "factor": 1.0}]
        return Stage(
            name=name,
            criterion=Squares({"square": 1.0, "progress": 0.0}),
            loader=Loader(steps),
            prepare=lambda: torch.optim.SGD(parameters, lr=0.0, fused=True),
            schedule=lambda step: 0.01 * (step + 1),
            epochs=epochs,
            pictures=["picture"] * 100,
            selects=selects,
        )


def test_losses_are_read_every_so_many_steps_and_at_the_end_of_an_epoch(tmp_path):
    run = Run(tmp_path, print_period=2)
    run.engine.run([run.stage("tiny", steps=3, epochs=2)])
    rows = [row for row in run.rows if "loss" in row]
    assert [(row["step"], row["epoch"]) for row in rows] == [(2, 1), (3, 1), (4, 2), (6, 2)]
    assert [round(row["lr"], 6) for row in rows] == [0.02, 0.03, 0.04, 0.06]
    assert {row["stage"] for row in rows} == {"tiny"}
    assert {row["trained_parameters"] for row in rows} == {6 * 6 + 6 + 1}
    assert all(0.01 < row["peak_memory_gib"] < 100 for row in rows)
    assert rows[1]["progress"] == pytest.approx(2 / 3)  # of the third step alone
    assert rows[3]["progress"] == pytest.approx((4 / 3 + 5 / 3) / 2)
    assert all(row["samples_per_second"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("period", "steps"), [(0, [3, 6]), (2, [2, 3, 4, 6]), (3, [3, 6]), (1, [1, 2, 3, 4, 5, 6])]
)
def test_a_checkpoint_is_saved_every_so_many_steps_and_at_the_end_of_an_epoch(
    tmp_path, period, steps
):
    run = Run(tmp_path, save_period=period)
    run.engine.run([run.stage("tiny", steps=3, epochs=2)])
    saved = [step for name, step in run.saved if name == LAST]
    assert saved == [*steps, 6], "the last one again, after its evaluation"
    assert [row["step"] for row in run.rows if "loss" in row] == steps, "and the losses are read"


@pytest.mark.parametrize(("period", "epochs"), [(1, [1, 2, 3]), (2, [2, 3]), (3, [3]), (9, [3])])
def test_the_split_that_selects_is_evaluated_in_some_epochs_and_the_last(tmp_path, period, epochs):
    run = Run(tmp_path, period=period)
    run.engine.run([run.stage("tiny", steps=2, epochs=3)])
    assert run.evaluated == epochs
    rows = [row for row in run.rows if "split" in row]
    assert [(row["epoch"], row["direction"]) for row in rows] == [
        (epoch, direction) for epoch in epochs for direction in ("first", "second")
    ]
    assert {row["split"] for row in rows} == {"val"}
    assert [row["step"] for row in rows] == [2 * row["epoch"] for row in rows]
    assert run.model.training is False, "the evaluation was the last thing"


def test_the_best_is_the_first_of_equals_by_the_metric_of_the_first_direction(tmp_path):
    run = Run(tmp_path)
    run.engine.run([run.stage("tiny", steps=1, epochs=4)])
    assert [step for name, step in run.saved if name == BEST] == [1, 2, 4]
    assert (run.engine.position.best, run.engine.position.best_epoch) == (90.0, 4)
    again = Run(tmp_path, rows=(70.0, 60.0, 70.0, 10.0))
    again.engine.run([again.stage("tiny", steps=1, epochs=4)])
    assert [step for name, step in again.saved if name == BEST] == [1]
    assert (again.engine.position.best, again.engine.position.best_epoch) == (70.0, 1)


def test_stages_follow_each_other_and_only_some_select(tmp_path):
    run = Run(tmp_path)
    first, second = run.stage("a", 3, 2, selects=False), run.stage("b", 2, 2)
    run.engine.run([first, second])
    assert run.evaluated == [3, 4]
    assert first.loader.started == [(0, 0), (1, 0)]
    assert second.loader.started == [(2, 0), (3, 0)]
    rows = [row for row in run.rows if "loss" in row]
    assert [(row["stage"], row["step"], row["epoch"]) for row in rows] == [
        ("a", 3, 1), ("a", 6, 2), ("b", 8, 3), ("b", 10, 4)
    ]  # fmt: skip
    assert [round(row["lr"], 6) for row in rows] == [0.03, 0.06, 0.02, 0.04]
    assert (run.engine.position.epoch, run.engine.position.step) == (4, 10)


@pytest.mark.parametrize(
    ("epoch", "step", "starts"),
    [
        (0, 2, ([(0, 2), (1, 0)], [(2, 0), (3, 0)])),
        (1, 3, ([(1, 0)], [(2, 0), (3, 0)])),
        (2, 6, ([], [(2, 0), (3, 0)])),
        (2, 7, ([], [(2, 1), (3, 0)])),
        (4, 10, ([], [])),
    ],
)
def test_a_run_goes_on_in_the_stage_epoch_and_step_where_it_stopped(tmp_path, epoch, step, starts):
    run = Run(tmp_path)
    first, second = run.stage("a", 3, 2), run.stage("b", 2, 2)
    state = second.prepare().state_dict()
    run.engine.run([first, second], TrainingState(Position(epoch, step), state, {}))
    assert (first.loader.started, second.loader.started) == starts
    assert (run.engine.position.epoch, run.engine.position.step) == (4, 10)


@pytest.mark.parametrize("step", [2, 7])
def test_a_position_outside_its_epoch_is_refused(tmp_path, step):
    run = Run(tmp_path)
    stage = run.stage("a", 3, 2)
    state = stage.prepare().state_dict()
    with pytest.raises(InputError, match=f"saved at step {step}, which is not in epoch 2 here"):
        run.engine.run([stage], TrainingState(Position(1, step), state, {}))


def test_the_progress_bar_shows_the_time_left_of_the_whole_run(tmp_path, monkeypatch):
    """Two stages of four and six steps, resumed after three, on a clock of half a second a step."""
    shown, now = [], 0.0

    def tick() -> float:
        nonlocal now
        now += 0.5
        return now

    class Bar(tqdm):
        def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
            shown.append(s)

    monkeypatch.setattr("misc.training.time_left.time", SimpleNamespace(monotonic=tick))
    monkeypatch.setattr("misc.training.engine.tqdm", Bar)
    run = Run(tmp_path)
    stages = [run.stage("one", steps=2, epochs=2), run.stage("two", steps=3, epochs=2)]
    state = stages[0].prepare().state_dict()
    run.engine.run(stages, TrainingState(Position(1, 3), state, {}))
    left = ["00:03", "00:02", "00:02", "00:01", "00:01", "00:00", "00:00"]  # of 6, 5, ... steps
    assert shown == [f"{time} left in all" for time in left]


def test_what_a_run_does_is_said_in_its_log(tmp_path, caplog):
    caplog.set_level(logging.INFO, "misc.runtime.recorder")
    run = Run(tmp_path, rows=(70.0, 60.0))
    run.model.bounded.requires_grad_(False)
    run.engine.run([run.stage("tiny", steps=1, epochs=2)])
    lines = caplog.messages
    assert lines[0] == (
        "Stage tiny: 2 epochs x 1 step, 42 of 43 parameters trained (97.67 %), 1 process on CPU in "
        "fp32"
    )
    assert lines[1].startswith("epoch 1  step 1/1  loss ")
    assert "  square " in lines[1]
    assert "  lr 1.00e-02  " in lines[1]
    assert lines[1].endswith(" samples/s")
    assert "samples_per_second" not in lines[1]
    assert lines[2] == "epoch 1  val  R1 5.00  mAP 70.00  (best so far)"
    assert lines[4] == "epoch 2  val  R1 5.00  mAP 60.00"
