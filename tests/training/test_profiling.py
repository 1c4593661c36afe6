"""A profile of a run: its trace, its table, and the runs that are too short for it."""

import json

import pytest

import main
import options
from errors import InputError
from misc.training.profiling import PROFILED, SKIPPED, TRACE, WARMUP, format_times
from tests.command_line import parse
from tests.conftest import SMALL

DEMO = str(options.RECIPES / "demo.yaml")
NEEDED = SKIPPED + WARMUP + PROFILED


def run(places, folder, *words: str) -> None:
    few = ("schedule.epoch=3", "log.print_period=4", "--profile")
    arguments = ["--config", DEMO, "--output", str(folder), *SMALL, *places, *few, *words]
    main.run(parse(arguments))


def test_a_profile_is_of_a_few_steps(places, tmp_path, capsys):
    run(places, tmp_path / "run")
    events = json.loads((tmp_path / "run" / TRACE).read_text())["traceEvents"]
    steps = {e["name"] for e in events if str(e.get("name")).startswith("ProfilerStep#")}
    assert steps == {f"ProfilerStep#{n}" for n in range(SKIPPED + WARMUP, NEEDED)}
    backward = [e for e in events if "Backward0" in str(e.get("name"))]
    assert backward
    printed = capsys.readouterr().out
    assert f"{PROFILED} steps: time on the CPU" in printed
    assert printed.count(f"The trace is in {tmp_path / 'run' / TRACE}") == 1


def test_a_training_that_is_too_short_is_refused_before_it_begins(places, tmp_path):
    with pytest.raises(InputError, match=rf"--profile needs {NEEDED} steps, and \d+ are left to"):
        run(places, tmp_path / "run", "data.batch_size=30")
    assert not (tmp_path / "run").exists()


def test_an_evaluation_has_no_profile():
    with pytest.raises(InputError, match="--profile is of a training"):
        options.parse(["--evaluate", "runs/x", "--profile"])


def test_the_most_expensive_operations_come_first():
    table = format_times([("small", 3, 1000.0), ("large", 2, 9000.0)], on_gpu=True)
    rows = [line.replace(" ", "") for line in table.splitlines()]
    assert "|large|2|9.0|90.0|" in rows
    assert rows.index("|large|2|9.0|90.0|") < rows.index("|small|3|1.0|10.0|")
    assert "time on the GPU" in table
