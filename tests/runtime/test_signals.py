"""Signals as requests to a training."""

import os
import signal
import subprocess
import sys
import time

import torch

from misc.runtime.distributed import Processes
from misc.runtime.signals import TERMINATED, Request, Requests
from tests.ranks import run_ranks

ALONE = Processes(0, 1, torch.device("cpu"))


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.1)


def test_signals_are_requests_until_they_are_read():
    with Requests(ALONE) as requests:
        assert requests.read() == Request.NONE
        send(signal.SIGUSR1)
        assert requests.read() == Request.SAVE
        assert requests.read() == Request.NONE
        send(signal.SIGTERM)
        send(signal.SIGUSR1)
        send(signal.SIGTERM)  # torchrun's, beside the scheduler's
        assert requests.read() == Request.LEAVE


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with Requests(ALONE):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def read_in_turn(own: Processes) -> list[Request]:
    found = []
    with Requests(own) as requests:
        for step in range(6):
            if own.rank == 1 and step == 2:
                send(signal.SIGUSR1)
            if own.rank == 0 and step == 5:
                send(signal.SIGTERM)
            found.append(requests.read(now=step == 5))
    return found


def test_a_signal_to_one_rank_is_read_by_all_at_the_same_step(tmp_path):
    none, save = Request.NONE, Request.SAVE
    expected = [none, none, none, save, none, Request.LEAVE]
    assert run_ranks(read_in_turn, 2, tmp_path) == [expected, expected]


BLOCKED = """
import os, signal, threading, time, torch
from misc.runtime import signals
from misc.runtime.distributed import Processes
signals.SAME_REQUEST = 0.2
def send():
    for _ in range(2):
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=send).start()
with signals.Requests(Processes(0, 1, torch.device("cpu"))):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
"""


def test_a_second_sigterm_ends_a_process_that_waits_for_ever():
    done = subprocess.run([sys.executable, "-c", BLOCKED], timeout=60, check=False)
    assert done.returncode == TERMINATED
