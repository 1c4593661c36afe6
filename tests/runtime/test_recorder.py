import json
import logging
from datetime import datetime, timedelta

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from errors import InputError
from misc.runtime.checkpoint import Position
from misc.runtime.recorder import Recorder, start_logging
from misc.runtime.tracking import Tracking


@pytest.fixture(autouse=True)
def start():
    start_logging(active=True)


def rows(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_rows_lines_and_curves_are_written(tmp_path, capsys):
    with Recorder(tmp_path / "run", tracking=Tracking(("tensorboard",))) as recorder:
        recorder.write({"step": 1, "loss": 2.0})
        logging.getLogger("model.weights").info("a line")
    (row,) = rows(tmp_path / "run")
    assert 0 < row.pop("seconds") < 60
    assert row == {"step": 1, "loss": 2.0}
    assert capsys.readouterr().out == "a line\n"
    (file,) = (tmp_path / "run").glob("events.out.tfevents.*")
    events = EventAccumulator(str(file))
    events.Reload()
    assert events.Tags()["scalars"] == ["train/loss"]
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(1, 2.0)]


def test_every_line_of_the_log_has_its_time(tmp_path, capsys):
    """Lines that the screen does not show come first."""
    start_logging(active=True, first=["Command: python main.py"])
    log = logging.getLogger("misc.job")
    log.info("before there is a folder")
    with Recorder(tmp_path) as recorder:
        log.info("+---+\n| a |\n+---+")
        recorder.write_text("config.yaml", "a: 1")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    said = ["Command: python main.py", "before there is a folder", "+---+", "| a |", "+---+"]
    assert [line[21:] for line in lines] == said
    now = datetime.now()
    for line in lines:
        assert abs(now - datetime.strptime(line[:19], "%Y-%m-%d %H:%M:%S")) < timedelta(minutes=1)
    assert capsys.readouterr().out.splitlines() == said[1:]


def test_a_resumed_run_counts_seconds_from_the_last_row_that_is_kept(tmp_path):
    kept = [
        {"step": 1, "seconds": 500.0},
        {"step": 2, "seconds": 600.0},
        {"step": 3, "seconds": 9e9},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    with Recorder(tmp_path, resumed=Position(step=2)) as recorder:
        recorder.write({"step": 3, "loss": 0.5})
    first, second, third = (row["seconds"] for row in rows(tmp_path))
    assert (first, second) == (500, 600)
    assert 600 <= third < 660


def test_what_lies_beyond_the_resumed_step_and_what_closed_the_run_is_struck_out(tmp_path):
    with Recorder(tmp_path) as recorder:
        for step in (1, 2, 3):
            recorder.write({"step": step, "loss": float(step)})
        recorder.write({"step": 2, "split": "test", "chosen": "the last"})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # cut off by a kill
    with Recorder(tmp_path, resumed=Position(step=2)) as again:
        again.write({"step": 3, "loss": 0.5})
    assert [row["loss"] for row in rows(tmp_path)] == [1.0, 2.0, 0.5]


def test_an_evaluation_that_is_done_again_is_struck_out(tmp_path):
    """As of a run that was killed between an evaluation and the next checkpoint."""
    with Recorder(tmp_path) as recorder:
        for epoch in (1, 2):
            recorder.write({"step": 5 * epoch, "epoch": epoch, "loss": 0.5})
            recorder.write({"step": 5 * epoch, "epoch": epoch, "split": "val"})
    with Recorder(tmp_path, resumed=Position(epoch=1, step=10)):
        kept = [(row["epoch"], "split" in row) for row in rows(tmp_path)]
    assert kept == [(1, False), (1, True), (2, False)]


def test_other_processes_write_nothing(tmp_path):
    with Recorder(tmp_path / "run", active=False) as recorder:
        recorder.write({"step": 1, "loss": 2.0})
        recorder.write_text("config.yaml", "a: 1")
    assert not (tmp_path / "run").exists()


def fail_in(folder, row=None) -> None:
    with Recorder(folder) as recorder:
        if row:
            recorder.write(row)
        raise InputError("a mistake")


def test_a_run_that_fails_before_it_records_anything_leaves_nothing(tmp_path):
    with pytest.raises(InputError):
        fail_in(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError):
        fail_in(tmp_path / "run", {"step": 1, "loss": 2.0})
    assert rows(tmp_path / "run")


def test_a_folder_with_other_files_is_never_taken_away(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError):
        fail_in(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_output_that_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"--output .*file cannot be written"):
        Recorder(tmp_path / "file")
