"""The SLURM script of docs/distributed.md, with stand-ins for SLURM's commands."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

import main
import options
from misc.runtime.checkpoint import BEST, LAST, open_checkpoint
from tests import ROOT
from tests.command_line import latest, parse
from tests.conftest import SMALL

STAND_INS = {
    "srun": 'exec "$@"',
    "scontrol": 'case "$1" in show) echo localhost;; requeue) echo "$2" > requeued;; esac',
    "timeout": """
        shift; "$@" &
        while kill -0 $! 2> kill.log; do  # the time is over when torchrun hangs
            if [ -e hung ]; then exec kill $!; fi
            sleep 0.1
        done
    """,
    ".venv/bin/torchrun": f"""
        [ -e runs ] ||  # a first run, whose time ends after its first step
            (until [ -s runs/7/metrics.jsonl ]; do sleep 0.01; done; kill -USR1 $PPID) &
        if [ -e hangs ]; then
            rm hangs
            {sys.executable} -m torch.distributed.run "$@" &
            trap "kill -TERM $!" TERM
            wait; wait; touch hung; exec sleep 1000
        fi
        exec {sys.executable} -m torch.distributed.run "$@"
    """,
}
LONGEST = 300  # seconds of a job on a machine with much else to do


@pytest.fixture
def words(places) -> list[str]:
    """A training of 96 steps, one evaluation and no pictures."""
    few = ("schedule.epoch=8", "evaluation.period=8", "evaluation.ranked_lists=0")
    demo = str(options.RECIPES / "demo.yaml")
    return latest(["--config", demo, *SMALL, *places, *few, "log.print_period=1"])


@pytest.fixture
def job(words, tmp_path) -> list[str]:
    """The command of the documented script, on one process, in a folder with the stand-ins."""
    for name, text in STAND_INS.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
    (tmp_path / "main.py").symlink_to(ROOT / "main.py")
    page = (ROOT / "docs" / "distributed.md").read_text("utf-8")
    script = re.search(r"## SLURM\n+```bash\n(.*?)```", page, re.DOTALL)[1]
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    for documented, own in (
        ("--nproc_per_node=4", "--nproc_per_node=1"),
        (":29500", f":{port}"),
        ("--simplified", " ".join(f"'{word}'" for word in words)),
        ("data.num_workers=7 log.save_period=500 ...", ""),
    ):
        assert script.count(documented) == 1, documented
        script = script.replace(documented, own)
    (tmp_path / "job.sh").write_text(script)
    return ["bash", "job.sh"]


def run_job(command: list[str], folder: Path) -> int:
    """The status of a job, of which nothing is left at the end: SLURM sees to that."""
    slurm = {"SLURM_JOB_ID": "7", "SLURM_NNODES": "1", "SLURM_JOB_NODELIST": "localhost"}
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | slurm | {"PATH": path}
    job = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)
    try:
        return job.wait(LONGEST)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)


def saved_step(job: list[str], folder: Path) -> int:
    """Run the job until its time ends and it is queued again; return the step that it has saved."""
    # A training in this process has left it ignored, and a shell cannot trap what it inherits so.
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    run_job(job, folder)
    assert (folder / "requeued").read_text() == "7\n"
    return open_checkpoint(folder / "runs" / "7" / LAST).training.position.step


def test_a_requeued_job_ends_as_one_that_nothing_interrupts(job, words, tmp_path, monkeypatch):
    run = tmp_path / "runs" / "7"
    assert 0 < saved_step(job, tmp_path) < 96
    assert not (run / "results.json").exists()

    assert run_job(job, tmp_path) == 0
    monkeypatch.chdir(tmp_path)
    main.run(parse([*words, "--output", "whole"]))
    for name in (LAST, BEST):
        states = [open_checkpoint(folder / name).state for folder in (Path("whole"), run)]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())
    rows = map(json.loads, (run / "metrics.jsonl").open())
    steps = [row["step"] for row in rows if "loss" in row]
    assert steps == [*range(1, 96 + 1)]


def test_a_job_is_requeued_though_torchrun_hangs(job, tmp_path):
    """It may lock itself up as a signal interrupts its wait for a process."""
    (tmp_path / "hangs").touch()
    assert 0 < saved_step(job, tmp_path) < 96
    assert (tmp_path / "hung").exists()
