import pytest

from misc.training import time_left
from misc.training.time_left import TimeLeft


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""

    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(time_left, "time", clock)
    return clock


def test_the_time_left_is_that_of_all_stages(clock):
    """Two stages of 10 and 100 steps: the pace is that of the present one."""
    left = TimeLeft(110)
    clock.now = 8.0
    assert left.seconds(4) == pytest.approx(2 * 106)
    clock.now = 20.0
    left.begin(10)
    clock.now = 50.0  # with an evaluation
    assert left.seconds(11) == pytest.approx(30 * 99)
    assert left.describe(11) == "49:30 left in all"
    assert left.describe(110) == "00:00 left in all"


def test_a_resumed_run_does_not_count_the_steps_before(clock):
    left = TimeLeft(1000)
    clock.now = 100.0
    left.begin(900)
    clock.now = 110.0
    assert left.seconds(910) == pytest.approx(90)
