"""A copy of the project in which tests are run, each time in a fork that has torch in memory."""

import gc
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests import ROOT

# Imported before the forks; the rest, and all of the project, in each of them.
HEAVY = ("torch", "torchvision.transforms", "torch.distributed", "transformers", "pytest")
PASSED, TIMED_OUT = 0, -1


class Tree:
    """A copy of the project's files, as git lists them.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # a mutant may have the size and second of
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # the source, which is all a .pyc is known by
        for name in HEAVY:
            importlib.import_module(name)

    def test(self, tests: Sequence[str], limit: float) -> int:
        """The exit code of pytest, or `TIMED_OUT` after `limit` seconds."""
        child = os.fork()
        if child == 0:
            self._run(tests)
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                self._kill(child)  # processes that a failed test has left
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        self._kill(child)
        os.waitpid(child, 0)
        return TIMED_OUT

    def output(self) -> str:
        """The last output of pytest."""
        return (self.folder / ".output").read_text("utf-8")

    def _run(self, tests: Sequence[str]) -> None:
        """Run pytest in this process and end it; the modules are those of the copy."""
        try:
            os.setsid()
            os.chdir(self.folder)
            with (self.folder / ".output").open("w") as output:
                for stream in (1, 2):
                    os.dup2(output.fileno(), stream)
            sys.dont_write_bytecode = True
            sys.path[:] = [str(self.folder), *(p for p in sys.path if p not in ("", str(ROOT)))]
            for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
                del sys.modules[name]
            gc.freeze()  # or else pytest looks through all of that when it ends
            import pytest

            os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
            os._exit(pytest.main(["-x", "--tb=line", "-p", "no:cacheprovider", *tests]))
        finally:
            os._exit(99)

    @staticmethod
    def _kill(group: int) -> None:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            return
