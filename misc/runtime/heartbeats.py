"""Heartbeats of a run's processes, which tell a process that hangs from one that works for long."""

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple, Self, TypeVar

import torch.distributed as dist

T = TypeVar("T")

LONGEST_PAUSE = timedelta(seconds=5)
ROUNDS = 20  # in the time limit, at least
LEFT = "left"


class Sign(NamedTuple):
    """The last that was heard of a process.

    Args:
        time: when it last came further, by its own clock; 0: it was never heard.
        idle: rounds since then; 0 while it works alone.
        sent: its own round then.
        read: the listener's round then.
    """

    time: float = 0
    idle: int = 0
    sent: int = -1
    read: int = 0


class Heartbeats:
    """Threads that write the sign of this process into a store and read those of the others.

    The run ends if a process is silent for longer than the limit (it is stopped, or its machine is
    down), or if all are idle for that long (one hangs, and the others wait for it). A process that
    works alone for hours, while the others wait for its result, is never idle.

    Time is counted in rounds of these threads, so that none passes while the run is suspended.

    Args:
        store: for these threads alone.
        limit: on silence and on idleness.
    """

    def __init__(self, store: dist.Store, rank: int, world_size: int, limit: timedelta) -> None:
        self.store, self.rank, self.limit = store, rank, limit
        self.pause = min(LONGEST_PAUSE, limit / ROUNDS)
        self.round = self.answered = 0
        self.beaten = time.time()
        self.idle_since: int | None = None  # a round; None: this process works alone
        self.signs = {other: Sign() for other in range(world_size) if other != rank}
        self.ended, self.leaves = threading.Event(), False
        # Two threads, because a store whose own process is stopped never answers.
        self.exchange = threading.Thread(target=self._exchange, daemon=True)
        self.watch = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self.exchange.start()
        self.watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.leaves = kind is None
        self.ended.set()
        self.exchange.join(timeout=1)

    def beat(self) -> None:
        """Count the time from now on as idle, until the next beat."""
        self.idle_since, self.beaten = self.round, time.time()

    def batches(self, loader: Iterable[T]) -> Iterator[T]:
        """The batches of a loader; a process that takes none for long is idle."""
        try:
            self.beat()
            for batch in loader:
                self.beat()
                yield batch
                self.beat()
        finally:
            self.idle_since = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time within as idle."""
        worked_alone = self.idle_since is None
        self.beat()
        yield
        self.beat()
        if worked_alone:
            self.idle_since = None

    def is_first_to_tell(self) -> bool:
        """Whether no other process has told why the run ends."""
        if self.round - self.answered > ROUNDS // 2:
            return True
        try:
            return self.store.add("told", 1) == 1
        except dist.DistError:
            return True

    def _exchange(self) -> None:
        try:
            while not self.ended.wait(self.pause.total_seconds()):
                own = self._own_sign()
                self.store.set(str(self.rank), f"{own.time} {own.idle} {own.sent}")
                for other, sign in [*self.signs.items()]:
                    if sign.time or self.store.check([str(other)]):
                        self._read(other, self.store.get(str(other)))
                self.answered = self.round
            if self.leaves:
                self.store.set(str(self.rank), LEFT)
        except dist.DistError:
            return  # whoever kept the store is gone: from now on all are silent

    def _own_sign(self) -> Sign:
        now = self.round
        if self.idle_since is None:
            return Sign(time.time(), 0, now, now)
        return Sign(self.beaten, now - self.idle_since, now, now)

    def _read(self, other: int, text: bytes) -> None:
        if text == LEFT.encode():
            del self.signs[other]
            return
        beaten, idle, sent = text.split()
        if int(sent) != self.signs[other].sent:
            self.signs[other] = Sign(float(beaten), int(idle), int(sent), self.round)

    def _watch(self) -> None:
        while not self.ended.wait(self.pause.total_seconds()):
            self.round += 1
            rank = self._hanging()
            if rank is not None:
                self._end(rank)

    def _hanging(self) -> int | None:
        """The process that the others wait for in vain, if there is one."""
        signs = {self.rank: self._own_sign(), **self.signs}
        silence = {rank: self.round - sign.read for rank, sign in signs.items()}
        idle = {rank: sign.idle + silence[rank] for rank, sign in signs.items()}
        limit = self.limit / self.pause
        if max(silence.values()) <= limit and min(idle.values()) <= limit:
            return None
        silent = [rank for rank in signs if silence[rank] > limit / 2]
        return min(silent or signs, key=lambda rank: signs[rank].time)

    def _end(self, rank: int) -> None:
        """End this process, whose main thread may hang for ever."""
        if self.is_first_to_tell():
            heard = self.signs[rank].time if rank != self.rank else self.beaten
            clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(heard))
            print(
                f"error: rank {rank} {f'was last heard at {clock}' if heard else 'never started'}, "
                f"more than distributed.timeout_minutes={self.limit / timedelta(minutes=1):g} ago: "
                "the run ends; continue it with --resume",
                file=sys.stderr,
                flush=True,
            )
        os._exit(1)
