import json
import logging

import pytest

from misc.recorder import Recorder, start_logging


@pytest.fixture(autouse=True)
def quiet():
    start_logging(active=True)
    yield
    for name in ("misc", "model", "text_utils"):
        logging.getLogger(name).handlers = []


def rows(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_rows_lines_and_curves_are_written(tmp_path, capsys):
    recorder = Recorder(tmp_path / "run")
    recorder.write({"step": 1, "loss": 2.0})
    logging.getLogger("model.weights").info("a line")
    recorder.close()
    assert rows(tmp_path / "run") == [{"step": 1, "loss": 2.0}]
    assert (tmp_path / "run" / "log.txt").read_text() == "a line\n"
    assert capsys.readouterr().out == "a line\n"
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))


def test_what_lies_beyond_the_resumed_step_is_struck_out(tmp_path):
    recorder = Recorder(tmp_path)
    for step in (1, 2, 3):
        recorder.write({"step": step, "loss": float(step)})
    recorder.close()
    again = Recorder(tmp_path, resume_step=2)
    again.write({"step": 3, "loss": 0.5})
    again.close()
    assert [row["loss"] for row in rows(tmp_path)] == [1.0, 2.0, 0.5]


def test_other_processes_write_nothing(tmp_path):
    recorder = Recorder(tmp_path / "run", active=False)
    recorder.write({"step": 1, "loss": 2.0})
    recorder.write_text("config.yaml", "a: 1")
    recorder.close()
    assert not (tmp_path / "run").exists()
