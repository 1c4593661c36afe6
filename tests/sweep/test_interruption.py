"""A sweep of real trainings that is killed, and goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import main
import options
from misc.sweep import run
from tests import ROOT
from tests.command_line import latest
from tests.conftest import SMALL

KEYS = "keys: {schedule.lr: {low: 1e-4, high: 1e-2, log: true}}"
FEW = ("schedule.epoch=2", "log.print_period=1", "evaluation.ranked_lists=0")


def kill_at(file: Path, command: list[str]) -> None:
    """Start a command, and kill it with all that it has started once a file is there."""
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        while not file.exists():
            assert process.poll() is None, "it has ended before"
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_killed_sweep_goes_on(sweep, places, tmp_path, monkeypatch, capsys):
    settings = latest([*SMALL, *places, *FEW])
    sweep(f"trials: 1\n{KEYS}", *settings)
    monkeypatch.setattr(run, "MAIN", ROOT / "main.py")
    file = tmp_path / "sweep.yaml"
    file.write_text(file.read_text().replace("trials: 1", "trials: 2"))
    out = tmp_path / "out"
    words = ["--sweep", str(file), "--output", str(out), *settings]
    kept, interrupted = out / "trials" / "000-seed-0", out / "trials" / "001-seed-0"
    kill_at(interrupted / "checkpoint_last.pt", [sys.executable, "main.py", *words])
    assert not (interrupted / "results.json").exists()
    made = (kept / "results.json").stat().st_mtime_ns
    sampled = (interrupted / "config.yaml").read_text()

    main.run(options.parse(words))

    assert (kept / "results.json").stat().st_mtime_ns == made
    assert (interrupted / "config.yaml").read_text() == sampled
    assert "Resuming from" in (interrupted / "log.txt").read_text()
    rows = [json.loads(line) for line in (interrupted / "metrics.jsonl").read_text().splitlines()]
    values = [
        row["R1"]
        for row in rows
        if row.get("split") == "val" and row["direction"] == "text to image"
    ]
    assert len(values) == 2
    found = json.loads((out / "sweep.json").read_text())["trials"]
    (trial,) = (trial for trial in found if trial["trial"] == 1)
    assert (trial["state"], trial["mean"]) == ("ended", max(values))
    config = options.parse(["--config", str(interrupted / "config.yaml")]).configure()
    assert config.schedule.lr == trial["settings"]["schedule.lr"]
    assert "trial 1: schedule.lr=" in capsys.readouterr().out
