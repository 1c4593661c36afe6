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


GOOD, BAD = torch.tensor(False), torch.tensor(True)


def test_means_and_speed_are_since_the_last_reading(clock):
    meter = Meter(Processes(0, 1, torch.device("cpu")))
    for loss, part in ((1.0, 4.0), (3.0, 6.0)):
        meter.add({"loss": torch.tensor(loss), "part": torch.tensor(part)}, GOOD, samples=10)
    clock[0] = 104.0
    reading = meter.read()
    assert (reading.losses, reading.samples_per_second) == ({"loss": 2.0, "part": 5.0}, 5.0)
    meter.add({"loss": torch.tensor(7.0)}, GOOD, samples=3)
    clock[0] = 104.5
    reading = meter.read()
    assert (reading.losses, reading.samples_per_second) == ({"loss": 7.0}, 6.0)


def test_bad_steps_are_left_out_of_the_means(clock):
    meter = Meter(Processes(0, 1, torch.device("cpu")))
    for loss, is_bad in ((1.0, GOOD), (float("nan"), BAD), (3.0, GOOD)):
        meter.add({"loss": torch.tensor(loss)}, is_bad, samples=1)
    clock[0] = 101.0
    reading = meter.read()
    assert reading.losses == {"loss": 2.0}
    assert list(reading.bad) == [False, True, False]


def test_samples_of_all_processes_are_counted(clock, monkeypatch):
    monkeypatch.setattr(Processes, "mean", lambda _, values: values)
    meter = Meter(Processes(1, 4, torch.device("cpu")))
    meter.add({"loss": torch.tensor(1.0)}, GOOD, samples=10)
    clock[0] = 110.0
    assert meter.read().samples_per_second == 4.0
