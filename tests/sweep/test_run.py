"""Runs of main.py in processes of their own."""

import subprocess
import sys

from misc.sweep.run import Run


def test_a_run_that_has_outlived_its_starter_is_waited_for(tmp_path, capsys):
    run = Run(tmp_path / "run", ())
    with run.console() as console:
        command = [sys.executable, "-c", "import time; time.sleep(0.5)"]
        orphan = subprocess.Popen(command, stdout=console)
    assert orphan.poll() is None
    with run.console():
        assert orphan.wait(timeout=0.4) == 0
    assert f"The run in {run.folder} still goes on" in capsys.readouterr().out
    with run.console():
        pass
    assert capsys.readouterr().out == ""
