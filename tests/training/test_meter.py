"""The meter: means of what was added since the last reading."""

import pytest
import torch

from misc.runtime.distributed import Processes
from misc.training.meter import Meter


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time, which the test moves."""
    now = [100.0]
    monkeypatch.setattr("misc.training.meter.time.perf_counter", lambda: now[0])
    return now


def test_means_and_speed_are_since_the_last_reading(clock):
    meter = Meter(Processes(0, 1, torch.device("cpu")))
    for loss, part in ((1.0, 4.0), (3.0, 6.0)):
        meter.add({"loss": torch.tensor(loss), "part": torch.tensor(part)}, samples=10)
    clock[0] = 104.0
    assert meter.read() == {"loss": 2.0, "part": 5.0, "samples_per_second": 5.0}
    meter.add({"loss": torch.tensor(7.0)}, samples=3)
    clock[0] = 104.5
    assert meter.read() == {"loss": 7.0, "samples_per_second": 6.0}


def test_samples_of_all_processes_are_counted(clock, monkeypatch):
    monkeypatch.setattr(Processes, "mean", lambda _, values: values)
    meter = Meter(Processes(1, 4, torch.device("cpu")))
    meter.add({"loss": torch.tensor(1.0)}, samples=10)
    clock[0] = 110.0
    assert meter.read() == {"loss": 1.0, "samples_per_second": 4.0}
