"""Running means of the losses."""

import time

import torch
from torch import Tensor

from misc.runtime.distributed import Processes
from misc.training.trainer import Losses


class Meter:
    """Means of the losses since the last reading, over the processes.

    Reading is the only wait for the device.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self._clear()

    def _clear(self) -> None:
        self.rows: list[Tensor] = []
        self.samples = 0
        self.since = time.perf_counter()

    def add(self, losses: Losses, samples: int) -> None:
        """Add the losses of one step on `samples` samples of this process."""
        self.names = list(losses)
        self.rows.append(torch.stack(list(losses.values())))
        self.samples += samples * self.processes.world_size

    def read(self) -> dict[str, float]:
        """Mean losses by name, and `samples_per_second` of all processes together."""
        means = self.processes.mean(torch.stack(self.rows).mean(dim=0)).tolist()
        speed = self.samples / (time.perf_counter() - self.since)
        self._clear()
        return dict(zip(self.names, means, strict=True)) | {"samples_per_second": speed}
