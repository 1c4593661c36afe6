"""Signals that ask a training to save its state: SIGTERM, to leave then, and SIGUSR1, to go on."""

import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from enum import IntEnum
from types import FrameType
from typing import NoReturn, Self

from misc.runtime.distributed import Processes

TERMINATED = 128 + signal.SIGTERM  # the exit status
# A scheduler may signal the processes of torchrun, which passes its own signal on: one request.
SAME_REQUEST = 2.0  # seconds


class Request(IntEnum):
    """A request to a training; of several, the largest counts."""

    NONE = 0
    SAVE = 1
    LEAVE = 2


class Requests:
    """The requests that signals bring to any process of a run while this context is open.

    Outside the main thread, which alone has signals, there are none.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.own, self.lock = Request.NONE, threading.Lock()
        self.terminated = math.inf  # the time
        self.pending: Callable[[], int] | None = None
        is_main_thread = threading.current_thread() is threading.main_thread()
        self.catches = is_main_thread and sys.platform != "win32"

    def __enter__(self) -> Self:
        if self.catches:
            # A thread takes the signals: their handlers would run in the main thread, which may be
            # waiting for other processes.
            self.reader, self.writer = socket.socketpair()
            self.writer.setblocking(False)
            self.listener = threading.Thread(target=self._listen, daemon=True)
            self.listener.start()
            self.wakeup = signal.set_wakeup_fd(self.writer.fileno())
            numbers = (signal.SIGTERM, signal.SIGUSR1)
            self.handlers = {number: signal.signal(number, _ignore) for number in numbers}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self.catches:
            return
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self.wakeup)
        self.writer.send(b"\0")
        self.listener.join()
        self.reader.close()
        self.writer.close()
        if self.own == Request.LEAVE and kind is None:  # it came after the last reading
            signal.raise_signal(signal.SIGTERM)

    def read(self, now: bool = False) -> Request:
        """The largest request since the last reading, the same in every process.

        Args:
            now: wait for the requests to the other processes; else the next reading has them, so
                that no step waits.
        """
        with self.lock:
            own, self.own = self.own, Request.NONE
        largest = self.pending() if self.pending else Request.NONE
        self.pending = self.processes.largest(own)
        if now or self.processes.world_size == 1:
            largest, self.pending = max(largest, self.pending()), None
        return Request(largest)

    def leave(self) -> NoReturn:
        """End this process, when all have come as far: the main process has saved then."""
        self.read(now=True)
        sys.exit(TERMINATED)

    def _listen(self) -> None:
        while number := self.reader.recv(1)[0]:
            with self.lock:
                self._take(number)

    def _take(self, number: int) -> None:
        if number == signal.SIGUSR1:
            self.own = max(self.own, Request.SAVE)
        elif number == signal.SIGTERM and math.isinf(self.terminated):
            self.own, self.terminated = Request.LEAVE, time.monotonic()
        elif number == signal.SIGTERM and time.monotonic() - self.terminated > SAME_REQUEST:
            os._exit(TERMINATED)  # even if the main thread waits for another process


def _ignore(number: int, frame: FrameType | None) -> None:
    """Handle a signal by nothing: who listens knows of it."""
