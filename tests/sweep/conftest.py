"""Sweeps whose runs are those of a stand-in for main.py."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import main
import options
from misc.sweep import run, trial
from tests.command_line import parse
from tests.sweep import stand_in

DEMO = str(options.RECIPES / "demo.yaml")


@pytest.fixture
def sweep(tmp_path, monkeypatch) -> Callable[..., dict]:
    """Sweep with the stand-in; the result is sweep.json."""
    monkeypatch.setattr(run, "MAIN", Path(stand_in.__file__))
    monkeypatch.setattr(trial, "PERIOD", 0.01)

    def sweep(text: str, *words: str) -> dict:
        file = tmp_path / "sweep.yaml"
        file.write_text(f"recipe: {DEMO}\n{text}\n")
        epochs = f"schedule.epoch={stand_in.EPOCHS}"
        command = ["--sweep", str(file), "--output", str(tmp_path / "out"), epochs, *words]
        main.run(parse(command))
        return json.loads((tmp_path / "out" / "sweep.json").read_text())

    return sweep
