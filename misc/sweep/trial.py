"""A trial of a sweep: its runs, one for each seed, followed while they train."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from optuna import Trial

from errors import InputError
from misc.sweep.progress import Metric
from misc.sweep.run import CONSOLE, Run

PERIOD = 0.5  # seconds between two looks at a run


class TrialFailed(Exception):
    """A run of the trial has failed; the message says why."""


class Judge:
    """The decision whether a trial is pruned, after each epoch of its first run but the last.

    Args:
        folder: of that run.
        last_epoch: after which there is nothing left to save.
    """

    def __init__(self, trial: Trial, metric: Metric, folder: Path, last_epoch: int) -> None:
        self.trial, self.metric, self.folder, self.last_epoch = trial, metric, folder, last_epoch
        frozen = trial.study.trials[trial.number]
        self.reported = {*frozen.intermediate_values}
        self.prunes = bool(self.reported) and bool(trial.should_prune())

    def __call__(self) -> bool:
        """Whether the trial is to be stopped, by what its record holds now."""
        for epoch, value in self.metric.by_epoch(self.folder).items():
            if self.prunes or epoch >= self.last_epoch:
                break
            if epoch not in self.reported:
                self.trial.report(value, epoch)
                self.reported.add(epoch)
                self.prunes = bool(self.trial.should_prune())
        return self.prunes


def never() -> bool:
    """The judge of runs that are not pruned."""
    return False


def follow(run: Run, is_pruned: Callable[[], bool], threads: int) -> bool:
    """Bring a run to its end, or stop it when it is pruned.

    Returns:
        Whether it has come to its end.

    Raises:
        TrialFailed: it has failed.
        InputError: somebody has ended it.
    """
    with run.console() as console:
        if is_pruned():
            return False
        if not run.done:
            with run.started(threads, console) as process:
                while process.poll() is None:
                    if is_pruned():
                        return False
                    time.sleep(PERIOD)
            _check_end(run, process.returncode)
    return not is_pruned()


def _check_end(run: Run, status: int) -> None:
    if status < 0 or status > 128:  # by a signal
        raise InputError(
            f"the run in {run.folder} was ended from outside (exit status {status}); the same "
            "command continues the sweep"
        )
    if status:
        raise TrialFailed(_reason(run, status))


def _reason(run: Run, status: int) -> str:
    """The sentence that a run has failed with, or where to look for it."""
    console = run.folder / CONSOLE
    lines = console.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return errors[-1] if errors else f"exit status {status}, see the end of {console}"


def values_of(runs: Sequence[Run], metric: Metric) -> list[float]:
    """The metric of each run at its best epoch.

    Raises:
        InputError: a run has evaluated nothing.
    """
    values = []
    for run in runs:
        by_epoch = metric.by_epoch(run.folder)
        if not by_epoch:
            raise InputError(
                f"the run in {run.folder} has no evaluation of the {metric.split} split, which the "
                "annotations seem to lack: set experiment.select_on to a split that they have"
            )
        values.append(metric.best(by_epoch.values()))
    return values
