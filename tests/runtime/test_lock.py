"""The lock of a run's folder."""

import os
import signal
import subprocess
import sys

import pytest

from errors import InputError
from misc.runtime.lock import LOCK, locked
from tests import ROOT

HOLD = (
    "import sys, time, pathlib\n"
    "from misc.runtime.lock import locked\n"
    "with locked(pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


def test_a_second_process_is_refused_and_a_killed_one_holds_nothing(tmp_path, caplog):
    folder = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(InputError, match=rf"in use by another run \(process {holder.pid} on "),
            locked(folder),
        ):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    assert (folder / LOCK).exists()
    with locked(folder):
        (folder / "kept").touch()
    assert f"in use by process {holder.pid}" in caplog.text
    assert [file.name for file in folder.iterdir()] == ["kept"]


def test_a_folder_that_stays_empty_is_removed(tmp_path):
    with locked(tmp_path / "run"):
        assert f"process {os.getpid()} on" in (tmp_path / "run" / LOCK).read_text()
    assert not (tmp_path / "run").exists()
