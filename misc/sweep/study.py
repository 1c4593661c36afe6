"""A sweep that is run: trials, one after another, until the planned number has ended."""

import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from tqdm import tqdm

from errors import InputError
from misc.job import TASKS
from misc.retrieval.base import METRICS
from misc.runtime.lock import locked
from misc.runtime.signals import TERMINATED
from misc.sweep.importance import draw_importances, importances
from misc.sweep.plan import TRIALS, Plan
from misc.sweep.progress import Metric
from misc.sweep.run import Run, of_seeds
from misc.sweep.sampler import SeededSampler
from misc.sweep.space import Settings
from misc.sweep.tables import Row, write_tables
from misc.sweep.trial import Judge, TrialFailed, follow, never, values_of

STORAGE = "study.db"
MOST_FAILURES = 3  # in a row: then it is not the samples
PRUNERS: dict[str, Callable[[], BasePruner]] = {
    "none": NopPruner,
    "median": MedianPruner,
    "hyperband": HyperbandPruner,
}


def run_sweep(plan: Plan) -> None:
    """Run the trials of a sweep that have not ended, and write its tables.

    Raises:
        InputError: the folder is in use or holds another sweep, or several trials in a row fail,
            or all of them.
    """
    metric = _metric(plan)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", ExperimentalWarning)  # of the sampler of grids
    terminated = False

    def leave(*_: object) -> None:
        nonlocal terminated
        terminated = True
        sys.exit(TERMINATED)  # its run stops, too

    before = signal.signal(signal.SIGTERM, leave)
    try:
        with locked(plan.folder):
            plan.claim_folder()
            with closing(Sweep(plan, metric)) as sweep:
                sweep.run()
    except StorageInternalError:
        if terminated:  # within a commit, which was not made then
            sys.exit(TERMINATED)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


class Sweep:
    """A sweep in its folder: the study with its trials so far."""

    def __init__(self, plan: Plan, metric: Metric) -> None:
        self.plan, self.metric = plan, metric
        self.storage = RDBStorage(f"sqlite:///{plan.folder.resolve() / STORAGE}")
        self.study = optuna.create_study(
            storage=self.storage,
            sampler=SeededSampler(plan.settings.seed, exhaustive=plan.settings.is_grid),
            pruner=PRUNERS[plan.settings.prune](),
            study_name="sweep",
            direction=plan.settings.direction,
            load_if_exists=True,
        )

    def run(self) -> None:
        """Run the trials that have not ended, and write the tables after each."""
        ended = sum(trial.state.is_finished() for trial in self.study.trials)
        total = max(ended, self.plan.settings.num_trials)
        made: list[Row] = []
        with tqdm(total=total, initial=ended, unit=" trials", disable=None) as bar:
            while trial := self._next():
                self._run_trial(trial)
                rows = self.rows()
                write_tables(self.plan, self.metric, rows)
                tqdm.write(str(rows[-1]))
                bar.update()
                made.append(rows[-1])
                _check_failures(made)
        note, rows = self._draw_importances(), self.rows()
        print(write_tables(self.plan, self.metric, rows, note), end="")
        if rows and all(row.state == "failed" for row in rows):
            raise InputError(f"every trial of the sweep has failed, the last one: {rows[-1].note}")

    def close(self) -> None:
        """Let go of the study's file, also of a commit that was interrupted."""
        self.storage.remove_session()
        self.storage.engine.dispose()

    def _draw_importances(self) -> str:
        """Draw the importance of the keys; returns a sentence about it."""
        shares = importances(self.study, self.plan.settings.seed)
        if isinstance(shares, str):
            return shares
        ended = sum(trial.state == TrialState.COMPLETE for trial in self.study.trials)
        file = self.plan.folder / "importance.png"
        draw_importances(file, shares, str(self.metric), ended)
        listed = ", ".join(f"{key} {100 * share:.0f} %" for key, share in shares.items())
        return f"Importance over {ended} trials ({file.name}): {listed}."

    def rows(self) -> list[Row]:
        """The trials that have ended, in their order."""
        return [
            Row.of(trial, self._runs(trial.number, trial.user_attrs["settings"]))
            for trial in self.study.trials
            if trial.state.is_finished()
        ]

    def _next(self) -> optuna.Trial | None:
        """The trial that was interrupted, or a new one; None if there are enough."""
        trials = self.study.trials
        for trial in trials:
            if not trial.state.is_finished():
                return optuna.Trial(self.study, trial._trial_id)
        return self.study.ask() if len(trials) < self.plan.settings.num_trials else None

    def _run_trial(self, trial: optuna.Trial) -> None:
        settings = self.plan.space.draw(trial)
        trial.set_user_attr("settings", settings)
        try:
            ended = self._make(trial, settings)
        except TrialFailed as failure:
            trial.set_user_attr("reason", str(failure))
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            if ended:
                values = values_of(self._runs(trial.number, settings), self.metric)
                trial.set_user_attr("values", values)
                self.study.tell(trial, sum(values) / len(values))
            else:
                self.study.tell(trial, state=TrialState.PRUNED)

    def _make(self, trial: optuna.Trial, settings: Settings) -> bool:
        """Make the runs of a trial; returns whether they have ended, or the trial is pruned."""
        try:
            config = self.plan.space.configure(settings)
        except InputError as error:
            raise TrialFailed(str(error)) from None
        schedules = [config.stage_schedule(stage) for stage in config.stages if not stage.skip]
        last_epoch = sum(schedule.epoch for schedule in schedules)
        first, *others = self._runs(trial.number, settings)
        judge = Judge(trial, self.metric, first.folder, last_epoch)
        threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
        return follow(first, judge, threads) and all(follow(run, never, threads) for run in others)

    def _runs(self, number: int, settings: Settings) -> list[Run]:
        folder = self.plan.folder / TRIALS / f"{number:03}-seed"
        arguments = self.plan.arguments(settings)
        return of_seeds(folder, self.plan.seeds, arguments, self.plan.settings.processes)


def _check_failures(rows: Sequence[Row]) -> None:
    """Check that the last trials have not all failed.

    Raises:
        InputError: they have.
    """
    last = rows[-MOST_FAILURES:]
    if len(last) == MOST_FAILURES and all(row.state == "failed" for row in last):
        raise InputError(
            f"{MOST_FAILURES} trials in a row have failed, the last one: {last[-1].note}"
        )


def _metric(plan: Plan) -> Metric:
    """The metric of the settings, or the one that selects the best checkpoint of a run."""
    task, select_on = plan.config.task, plan.config.experiment.select_on
    metric = getattr(TASKS[task], "metric", None)
    if not (plan.settings.metric or metric):
        raise InputError(
            f"task {task} selects by the mean of two metrics, which a sweep does not compare: give "
            f"`metric: {select_on}/R1`, that of the sentences"
        )
    split, name = (plan.settings.metric or f"{select_on}/{metric}").split("/")
    if name not in METRICS:
        raise InputError(f"metric is {split}/{name}: choose one of {', '.join(METRICS)} for {name}")
    return Metric(split, name, plan.settings.direction)
