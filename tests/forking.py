"""Processes forked from one that has imported what trainings need, so that each starts at once.

They find the modules as an import leaves them, and end as Python does. Each server's hashes of
strings are its own: ranks of two servers differ in them as torchrun's do.
"""

import gc
import importlib
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path

from tests import ROOT

IMPORTED = ("misc.job", "torch.utils.tensorboard", "tests.archives", "tests.conftest")

# One fork server for all tests: what it has imported is settled when its first process starts.
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["misc.job", "misc.search.index", "tests.search.forked", "tests.fuzz._runs"]
)


class Server:
    """A process that forks others, one at a time.

    Attributes:
        end: can be read once the process that runs has ended.
    """

    def __init__(self) -> None:
        self.end, other = Pipe()
        command = [sys.executable, "-m", __name__, str(other.fileno())]
        self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[other.fileno()])
        other.close()

    def start(self, log: Path, function: Callable[..., object], *args: object) -> None:
        """Begin a call, in a process with the environment and the folder of this one.

        Args:
            log: a file for what it prints.
        """
        call = pickle.dumps((function, args))
        self.end.send((dict(os.environ), os.getcwd(), log, call))
        self.pid = self.end.recv()

    def wait(self) -> int:
        """The exit status of the process, or minus the number of the signal that ended it."""
        return self.end.recv()

    def kill(self) -> None:
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(self.pid, signal.SIGKILL)
        self.wait()


def serve(calls: Connection) -> None:
    """Fork a process for each call, until nobody is left to ask for one."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # or else the end of each process looks through all of that
    while True:
        try:
            environment, folder, log, call = calls.recv()
        except EOFError:
            return
        pid = os.fork()
        if not pid:
            break
        calls.send(pid)
        calls.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    calls.close()
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), sys.stdout.fileno())
    os.dup2(sys.stdout.fileno(), sys.stderr.fileno())
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    function, args = pickle.loads(call)
    function(*args)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
