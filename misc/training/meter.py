"""Running means of the losses."""

import time
from typing import NamedTuple

import torch
from torch import Tensor

from misc.runtime.distributed import Processes
from model.criteria.base import Losses


class Reading(NamedTuple):
    """The steps since the last reading.

    Args:
        losses: their means over the good steps and the processes; empty if no step was good.
        samples_per_second: of all processes together.
        bad: whether each step was bad.
    """

    losses: dict[str, float]
    samples_per_second: float
    bad: list[bool]


class Meter:
    """Means of the losses since the last reading, over the processes.

    Reading is the only wait for the device.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self._clear()

    def _clear(self) -> None:
        self.rows: list[Tensor] = []
        self.bad: list[Tensor] = []
        self.samples = 0
        self.since = time.perf_counter()

    def add(self, losses: Losses, is_bad: Tensor, samples: int) -> None:
        """Add the losses of one step on `samples` samples of this process."""
        self.names = list(losses)
        self.rows.append(torch.stack(list(losses.values())))
        self.bad.append(is_bad)
        self.samples += samples * self.processes.world_size

    def read(self) -> Reading:
        """The steps that were added since the last reading."""
        bad = torch.stack(self.bad).tolist()
        good = [row for row, is_bad in zip(self.rows, bad, strict=True) if not is_bad]
        losses = {}
        if good:
            means = self.processes.mean(torch.stack(good).mean(dim=0)).tolist()
            losses = dict(zip(self.names, means, strict=True))
        speed = self.samples / (time.perf_counter() - self.since)
        self._clear()
        return Reading(losses, speed, bad)
