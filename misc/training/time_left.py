"""The time that a training still takes."""

import time

from tqdm import tqdm


class TimeLeft:
    """An estimate of the time until the last step of all stages.

    It goes by the pace since the present stage began, or was resumed, evaluations included; stages
    to come are taken to be as fast.

    Args:
        steps: of all stages.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.begin(0)

    def begin(self, step: int) -> None:
        """Measure the pace from now on.

        Args:
            step: the steps that are done, of all stages.
        """
        self.first, self.since = step, time.monotonic()

    def seconds(self, step: int) -> float:
        """The seconds left.

        Args:
            step: the steps that are done, at least one more than at `begin`.
        """
        pace = (time.monotonic() - self.since) / (step - self.first)
        return pace * (self.steps - step)

    def describe(self, step: int) -> str:
        """The time left in words, for a progress bar; the argument is that of `seconds`."""
        return f"{tqdm.format_interval(self.seconds(step))} left in all"
