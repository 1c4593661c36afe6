"""A job of any task, from its configuration to its record: training with an evaluation at its end,
or evaluation alone.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from errors import InputError
from misc.calibration import Calibration
from misc.closing import Closed, compared_names, draw_figures, write_tables
from misc.retrieval.base import Retrieval, format_table
from misc.retrieval.calibration import calibrate, saved_calibration, write_calibration
from misc.retrieval.features import save_features
from misc.retrieval.ranked_lists import write_ranked_lists
from misc.retrieval.report import Evaluation
from misc.runtime.checkpoint import (
    BEST,
    Checkpoint,
    RunIdentity,
    TrainingState,
    load_weights,
    open_checkpoint,
)
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.runtime.recorder import CLOSING, Recorder, log
from misc.runtime.run_folder import folder_of_resumed_run, held_folder, new_folder
from misc.runtime.seeding import Purpose, seed_torch
from misc.runtime.tracking import Tracking
from misc.settings.recipes import dump, to_tree
from misc.settings.resumption import check_resumption
from misc.settings.sections import Config
from misc.tasks.base import Task, training_settings
from misc.tasks.both.task import BothTask
from misc.tasks.fingerprint import fingerprint
from misc.tasks.reid.task import ReIDTask
from misc.tasks.text.task import TextTask
from misc.training.compilation import compile_blocks
from misc.training.engine import Engine, Selection
from misc.training.profiling import check_steps
from misc.training.trainer import Stage, steps_until
from model.trees import Tree
from model.tuning.trained_weights import frozen_hash

TASKS: dict[str, type[Task]] = {
    "text_to_image": TextTask, "image_to_image": ReIDTask, "both": BothTask
}  # fmt: skip


class Chosen(NamedTuple):
    """The model that is evaluated: its epoch, the step of its rows in the record (of checkpoints
    that are evaluated together, their number), and why it was chosen.
    """

    epoch: int
    step: int
    reason: str


class Job:
    """The parts that a configuration describes, built in one process of a run.

    Args:
        recipe: a name for the configuration; a checkpoint of this project has its own.
        checkpoint: of the model to evaluate, or of the training to resume.
        for_training: whether the heads are built that only the losses need.

    Raises:
        InputError: something that the configuration names is not there or does not fit. Nothing has
            been written then.
    """

    def __init__(
        self,
        config: Config,
        recipe: str,
        processes: Processes,
        checkpoint: Checkpoint | None = None,
        *,
        for_training: bool = True,
    ) -> None:
        Tracking(config.log.to).check()
        self.precision = Precision(config.experiment.precision, processes.device)
        if for_training:
            TASKS[config.task].check(config)
        self.task = TASKS[config.task](config, processes, self.precision)
        self.config, self.processes, self.checkpoint = self.task.config, processes, checkpoint
        is_ours = checkpoint is not None and checkpoint.published is None
        self.recipe = checkpoint.recipe if checkpoint and is_ours else recipe
        seed_torch(config.misc.seed, Purpose.INITIALISATION)
        self.model = self.task.build_model(checkpoint, for_training).to(processes.device)
        if processes.is_main:
            for warning in self.task.warnings(begins=for_training and checkpoint is None):
                log.warning(warning)

    @property
    def tracking(self) -> Tracking:
        """The trackers that the configuration asks for."""
        return Tracking(self.config.log.to, self.config.log.project, to_tree(self.config))

    def train(
        self,
        output: Path | None,
        *,
        overwrite: bool = False,
        restarts: bool = False,
        allow_changes: bool = False,
        profiles: bool = False,
    ) -> None:
        """Train through all stages, evaluate the chosen model on `test`, and calibrate it on `val`.

        Args:
            output: the run's folder; by default the one that is resumed, else runs/<recipe>-<time>.
            overwrite, restarts: those of `held_folder`.
            allow_changes: resume with other settings or data, where the checkpoint fits them.
            profiles: record a trace of some steps in the main process.
        """
        stages = self.task.build_stages(self.model)
        selection = self._selection()
        data = fingerprint(self.task, stages, selection.split if selection else None)
        folder, resume = self._resumed(output, data, allow_changes)
        done, steps = resume.position if resume else None, sum(stage.steps for stage in stages)
        if profiles:
            check_steps(steps - (done.step if done else 0))
        with (
            held_folder(
                folder,
                self.processes,
                resumed=self.checkpoint,
                overwrite=overwrite,
                restarts=restarts,
            ),
            Recorder(folder, self.processes.is_main, done, self.tracking) as recorder,
        ):
            recorder.write_text("config.yaml", dump(self.config))
            log.info("Run folder: %s", folder)
            if self.checkpoint and done:
                file = self.checkpoint.file
                log.info("Resuming from %s: epoch %d, step %d", file, done.epoch, done.step)
                if done.step >= steps:
                    log.warning("Nothing is left to train: the run has all of its epochs")
                else:
                    recorder.remove_results()
            if mode := self.config.model.compile:
                compile_blocks(self.model, mode, self.processes.device)
            engine = self._engine(recorder, selection, data)
            engine.run(stages, resume, profiles)
            self._conclude(recorder, self._choose(engine, selection, stages))

    def _conclude(self, recorder: Recorder, chosen: Chosen) -> None:
        """Evaluate and calibrate the chosen model, and write tables and figures."""
        calibration = self._calibrate()
        evaluation = self.test(recorder, chosen, calibration)
        if calibration and self.config.evaluation.false_alarms:
            write_calibration(recorder.folder, calibration, self.config.evaluation.false_alarms)
        if self.config.log.figures:
            recorder.draw_curves()
        write_tables(recorder, [evaluation], self.task.data_keys, recipe=self.recipe)

    def _resumed(
        self, output: Path | None, data: Tree, allow_changes: bool
    ) -> tuple[Path, TrainingState | None]:
        """The run's folder, and the state to resume from, if any."""
        if self.checkpoint is None:
            return output or new_folder(self.recipe, self.processes), None
        folder, resume = folder_of_resumed_run(output, self.checkpoint)
        saved = self.checkpoint.config or {}
        if not check_resumption(to_tree(self.config), saved, data, resume.data, allow_changes):
            resume = resume.without_best()
        return folder, resume

    def _selection(self) -> Selection | None:
        """The evaluation that chooses the best checkpoint, if the dataset has the split."""
        split = self.config.experiment.select_on
        if split == "test" and split not in self.task.splits:
            raise InputError(
                "experiment.select_on=test: the annotations have no test split; give val or last"
            )
        if split not in self.task.splits:
            return None
        return self.task.build_selection(split)

    def _engine(self, recorder: Recorder, selection: Selection | None, data: Tree) -> Engine:
        config, omitted = self.config, self.task.omitted_names(self.model)
        return Engine(
            self.model,
            self.processes,
            self.precision,
            recorder,
            identity=RunIdentity(
                to_tree(config),
                self.recipe,
                self.task.describe(self.model),
                frozen_hash(self.model.state_dict(), omitted) if omitted else None,
                omitted,
                data,
            ),
            settings=training_settings(config),
            selection=selection,
        )

    def _choose(
        self, engine: Engine, selection: Selection | None, stages: Sequence[Stage]
    ) -> Chosen:
        """Load the best weights into the model, where an evaluation has selected any."""
        position = engine.position
        if selection is None or not position.best_epoch:
            wants_val = selection is None and self.config.experiment.select_on == "val"
            reason = "the last" + (", as there is no val split to choose on" if wants_val else "")
            return Chosen(position.epoch, position.step, f"epoch {position.epoch}, {reason}")
        if self.processes.is_main:
            best = open_checkpoint(engine.recorder.folder / BEST, ours_only=True)
            load_weights(self.model, {**self.model.state_dict(), **best.state}, best.file)
        self.processes.align(self.model)
        reason = f"the best on {selection.split}"
        if selection.split == "test":
            reason += " itself, as is published"
        epoch = position.best_epoch
        return Chosen(epoch, steps_until(stages, epoch), f"epoch {epoch}, {reason}")

    def test(
        self,
        recorder: Recorder,
        chosen: Chosen,
        calibration: Calibration | None = None,
        features: Path | None = None,
        suffix: str = "",
    ) -> Evaluation:
        """Evaluate on the test split, or the val split without one, and on the further test sets.

        Args:
            calibration: of the model, whose thresholds the figures show.
            features: where the encoded split goes, of the dataset's own and not the further sets.
            suffix: of the names of figures and of the folder of ranked lists.
        """
        closed = {}
        for name, retrieval in self.galleries().items():
            lists = Path(f"ranked_lists{suffix}") / re.sub(r"[^\w.-]+", "-", name)
            closed[name] = self._close(retrieval, recorder, lists, chosen.step, features)
            features = None
            row = {"step": chosen.step, "epoch": chosen.epoch, "dataset": name}
            row["split"] = name.split()[-1]
            results = closed[name].results
            for direction, metrics in results.items():
                recorder.write({**row, "direction": direction, **metrics, CLOSING: chosen.reason})
            log.info("%s", format_table(f"{name} split: {chosen.reason}", results))
        if not closed:
            log.info("The annotations have neither a test nor a val split: nothing to evaluate")
        false_alarms = self.config.evaluation.false_alarms
        draw_figures(recorder.folder, suffix, closed, calibration, false_alarms)
        return {name: one.results for name, one in closed.items()}

    def _calibrate(self) -> Calibration | None:
        """The calibration of the chosen model on the val split, in the main process, if there can
        be one.
        """
        if self.config.evaluation.false_alarms is None:
            return None
        if "val" not in self.task.splits:
            log.info("Nothing is calibrated, as the annotations have no val split")
            return None
        features = self.task.calibration_features(self.model, "val")
        if not self.processes.is_main:
            return None
        try:
            return calibrate(features)
        except InputError as error:
            log.warning("Nothing is calibrated on the val split: %s", error)
            return None

    def galleries(self) -> dict[str, Retrieval]:
        """The splits that close a run, by dataset and split."""
        task = self.task
        split = next((name for name in ("test", "val") if name in task.splits), None)
        galleries = {f"{task.name} {split}": task.build_retrieval(split)} if split else {}
        return galleries | {
            f"{name} test": task.build_retrieval("test", name) for name in task.test_sets
        }

    def _close(
        self,
        retrieval: Retrieval,
        recorder: Recorder,
        lists: Path,
        step: int,
        features: Path | None,
    ) -> Closed:
        """Evaluate a gallery, and draw ranked lists into a folder in the run's own."""
        encoded = retrieval.encode(self.model, self.processes, self.precision)
        if features and self.processes.is_main:
            save_features(features, retrieval.features(encoded, self.model))
            log.info("Features written to %s", features)
        ranked = retrieval.rank(encoded, self.processes, self.task.rerank)
        count, seed = self.config.evaluation.ranked_lists, self.config.misc.seed
        device, similarities = self.processes.device, None
        if count and self.processes.is_main:
            found = retrieval.ranked_lists(encoded, ranked, device, count=count, seed=seed)
            files = write_ranked_lists(recorder.folder / lists, found)
            recorder.show(lists.as_posix(), files, step)
        if self.config.log.figures and self.processes.is_main:
            similarities = retrieval.similarities(encoded, device)
        return Closed(ranked.results, ranked.cmc(), similarities, retrieval.query_kind)

    def saved_calibration(self) -> Calibration | None:
        """The calibration beside the checkpoint, if it is of the model."""
        if not (self.checkpoint and self.config.log.figures and self.processes.is_main):
            return None
        return saved_calibration(self.checkpoint.file.parent, self.model.encoder_hash())


def evaluate(
    jobs: Iterable[Job],
    output: Path | None,
    features: Path | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Evaluate checkpoints on the test split; of several, the closing tables compare them.

    Args:
        jobs: one for each checkpoint, built when it is asked for.
        output: the folder of the record; by default runs/<recipe>-evaluated-<time>.
        features: the file that the encoded split of the first one is written to, if any.
        overwrite: replace the run in `output`.

    Raises:
        InputError: `output` holds a run, or the checkpoints' datasets differ.
    """
    following = iter(jobs)
    first = next(following)
    folder = output or new_folder(f"{first.recipe}-evaluated", first.processes)
    evaluations = []
    checkpoints = []
    with (
        held_folder(folder, first.processes, overwrite=overwrite),
        Recorder(folder, first.processes.is_main, tracking=first.tracking) as recorder,
    ):
        recorder.write_text("config.yaml", dump(first.config))
        for number, job in enumerate(chain([first], following)):
            assert job.checkpoint is not None, "there is nothing to evaluate"
            chosen = Chosen(job.checkpoint.epoch, number, str(job.checkpoint.file))
            suffix = f"-{number + 1}" if number else ""
            calibration = job.saved_calibration()
            evaluations.append(job.test(recorder, chosen, calibration, features, suffix))
            checkpoints.append(job.checkpoint)
            features = None
        write_tables(recorder, evaluations, first.task.data_keys, compared_names(checkpoints))
