"""One job, from its configuration to its record: training with the evaluation at its end, or
evaluation alone.
"""

import re
import time
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from errors import InputError
from misc.retrieval.base import Results, Retrieval, format_table
from misc.retrieval.features import save_features
from misc.retrieval.ranked_lists import write_ranked_lists
from misc.retrieval.report import Evaluation, to_json, to_markdown
from misc.runtime.checkpoint import BEST, LAST, Start, load_weights, read_checkpoint
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.runtime.recorder import CLOSING, Recorder, log
from misc.runtime.seeding import Purpose, seed_torch
from misc.tasks.base import Task, build_rerank
from misc.tasks.reid.task import ReIDTask
from misc.tasks.text.model import FROZEN
from misc.tasks.text.task import TextTask
from misc.training.engine import Engine, Selection
from model.tuning.tuned_weights import frozen_hash
from options import Config, dump, to_tree

TASKS: dict[str, type[Task]] = {"text_to_image": TextTask, "image_to_image": ReIDTask}
RUNS = Path("runs")


class Job:
    """The parts that a configuration describes, built in one process of a run.

    Args:
        recipe: a name for the configuration; a checkpoint of ours has its own.
        start: the checkpoint that the model takes its weights from, if any.
        for_training: whether the heads are built that only the losses need.

    Raises:
        InputError: if something that the configuration names is not there or does not fit. Nothing
            has been written then.
    """

    def __init__(
        self,
        config: Config,
        recipe: str,
        processes: Processes,
        start: Start | None = None,
        for_training: bool = True,
    ) -> None:
        self.task = TASKS[config.task](config)
        self.config, self.processes, self.start = self.task.config, processes, start
        if self.task.told and processes.is_main:
            log.warning(self.task.told)
        self.checkpoint = start.content if start else None
        self.recipe = self.checkpoint["recipe"] if self.checkpoint else recipe
        self.precision = Precision(config.experiment.precision, processes.device)
        seed_torch(config.misc.seed, Purpose.INITIALISATION)
        self.model = self.task.build_model(start, for_training).to(processes.device)

    def train(self, output: Path | None) -> None:
        """Train through all stages, then evaluate the chosen model on the test split.

        Args:
            output: the run's folder; by default the one that is resumed, else runs/<recipe>-<time>.
        """
        config, processes = self.config, self.processes
        stages = self.task.build_stages(self.model, processes, self.precision)
        selection = self._selection()
        folder, resume_step = self._folder_to_train_in(output)
        with Recorder(folder, processes.is_main, resume_step) as recorder:
            recorder.write_text("config.yaml", dump(config))
            if self.start:
                log.info("going on from %s", self.start.file)
            left_out = self.task.left_out(self.model)
            identity = {
                "config": to_tree(config),
                "recipe": self.recipe,
                "architecture": self.task.describe(self.model),
            }
            if left_out:
                identity[FROZEN] = frozen_hash(self.model.state_dict(), left_out)
            engine = Engine(
                self.model,
                processes,
                self.precision,
                recorder,
                selection,
                identity=identity,
                seed=config.misc.seed,
                chunk=config.data.batch_size,
                use_gather=config.model.use_gather,
                print_period=config.log.print_period,
                save_period=config.log.save_period,
                left_out=left_out,
            )
            engine.run(stages, self.checkpoint)
            epoch, chosen = engine.position.epoch, "the last"
            if selection.split and engine.position.best_epoch:
                epoch, chosen = engine.position.best_epoch, f"the best on {selection.split}"
                if processes.is_main:
                    best = read_checkpoint(folder / BEST)
                    weights = {**self.model.state_dict(), **best["model"]}
                    load_weights(self.model, weights, folder / BEST)
                processes.align(self.model)
                if selection.split == "test":
                    chosen += " itself, as is published"
            elif selection.split is None and config.experiment.select_on == "val":
                chosen += ", as there is no val split to choose on"
            step, chosen = engine.position.step, f"epoch {epoch}, {chosen}"
            write_tables(recorder, [self.test(recorder, epoch, step, chosen)], self.task.where)

    def _folder_to_train_in(self, output: Path | None) -> tuple[Path, int | None]:
        """The run's folder, and the step that what it has recorded counts up to."""
        if self.checkpoint is None or self.start is None:
            if output and (output / LAST).exists():
                raise InputError(
                    f"--output {output} holds a run already: go on with it by --resume auto, or "
                    "give another folder"
                )
            return output or self.new_folder(self.recipe), None
        if "position" not in self.checkpoint:
            raise InputError(f"{self.start.file} holds weights alone: resume from {LAST} beside it")
        here = self.start.file.parent
        if output and output.resolve() != here.resolve():
            raise InputError(
                f"--output {output} is not the folder of {self.start.file}: a run goes on in its "
                "own; leave --output out, or copy the folder first"
            )
        if self.checkpoint["position"]["best_epoch"] and not (here / BEST).is_file():
            raise InputError(
                f"{here} has no {BEST}, which {self.start.file} counts on: put it back"
            )
        return here, self.checkpoint["position"]["step"]

    def new_folder(self, name: str) -> Path:
        """A folder of this run's own, made by the main process."""
        folder = RUNS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        while self.processes.is_main:
            try:
                folder.mkdir(parents=True)
                break
            except FileExistsError:  # another run began in the same second
                folder = folder.with_name(folder.name + "+")
            except OSError as error:
                raise InputError(
                    f"{folder} cannot be made ({error.strerror}); give --output"
                ) from None
        return self.processes.share(folder)

    def _selection(self) -> Selection:
        """What chooses the best checkpoint, as far as the dataset has it."""
        split = self.config.experiment.select_on
        if split == "test" and split not in self.task.splits:
            raise InputError(
                "experiment.select_on=test: the annotations have no test split; give val or last"
            )
        if split not in self.task.splits:
            return Selection(split=None)
        retrieval = self.task.build_retrieval(split)
        return Selection(
            split,
            lambda model: retrieval.evaluate(model, self.processes, self.precision),
            self.task.metric,
            self.config.evaluation.period,
        )

    def _closing_results(self, retrieval: Retrieval, features: Path | None, lists: Path) -> Results:
        encoded = retrieval.encode(self.model, self.processes, self.precision)
        if features and self.processes.is_main:
            save_features(features, retrieval.features(encoded, self.model))
            log.info("features written to %s", features)
        ranked = retrieval.rank(encoded, self.processes, build_rerank(self.config))
        count, seed = self.config.evaluation.ranked_lists, self.config.misc.seed
        if count and ranked.ranking is not None:
            device = self.processes.device
            found = retrieval.ranked_lists(encoded, ranked.ranking, device, count=count, seed=seed)
            write_ranked_lists(lists, found)
        return ranked.results

    def test(
        self,
        recorder: Recorder,
        epoch: int,
        step: int,
        chosen: str,
        features: Path | None = None,
        lists: str = "ranked_lists",
    ) -> Evaluation:
        """Evaluate on the test split, or the val split without one, and on the further test sets.

        Args:
            chosen: which weights these are, in words.
            features: where the encoded split goes, of the dataset's own and not the further sets.
            lists: the folder in the run's own that pictures of what queries find go to.
        """
        task = self.task
        split = next((name for name in ("test", "val") if name in task.splits), None)
        galleries = {f"{task.name} {split}": task.build_retrieval(split)} if split else {}
        galleries |= {f"{name} test": task.build_retrieval("test", name) for name in task.test_sets}
        evaluation = {}
        for name, retrieval in galleries.items():
            results = evaluation[name] = self._closing_results(
                retrieval, features, recorder.folder / lists / re.sub(r"[^\w.-]+", "-", name)
            )
            features = None
            for direction, metrics in results.items():
                row = {"step": step, "epoch": epoch, "dataset": name, "split": name.split()[-1]}
                recorder.write({**row, "direction": direction, **metrics, CLOSING: chosen})
            log.info("%s", format_table(f"{name} split: {chosen}", results))
        if not evaluation:
            log.info("the annotations have neither a test nor a val split: nothing to evaluate")
        return evaluation


def evaluate(jobs: Iterable[Job], output: Path | None, features: Path | None = None) -> None:
    """Evaluate checkpoints on the test split; of several, the closing tables hold the mean and the
    deviation.

    Args:
        jobs: one for each checkpoint, built when it is asked for.
        output: the folder of the record; by default runs/<recipe>-evaluated-<time>.
        features: the file that the encoded split of the first one is written to, if any.

    Raises:
        InputError: `output` holds a training run, or the checkpoints' datasets differ.
    """
    following = iter(jobs)
    first = next(following)
    folder = output or first.new_folder(f"{first.recipe}-evaluated")
    if (folder / LAST).exists():
        raise InputError(f"--output {folder} holds a training run; give another folder")
    evaluations = []
    with Recorder(folder, first.processes.is_main) as recorder:
        recorder.write_text("config.yaml", dump(first.config))
        for number, job in enumerate(chain([first], following)):
            epoch = job.checkpoint["epoch"] if job.checkpoint else 0
            chosen = str(job.start.file) if job.start else "untrained"
            lists = "ranked_lists" if number == 0 else f"ranked_lists-{number + 1}"
            evaluations.append(job.test(recorder, epoch, number, chosen, features, lists))
            features = None
        write_tables(recorder, evaluations, first.task.where)


def write_tables(recorder: Recorder, evaluations: Sequence[Evaluation], where: str) -> None:
    """The closing tables for papers, over all checkpoints, and the paths of what was written.

    Args:
        where: the keys that say what is evaluated.
    """
    rows = [{name: set(results) for name, results in each.items()} for each in evaluations]
    if any(other != rows[0] for other in rows):
        raise InputError(
            "the checkpoints are not evaluated on the same datasets in the same way, so that they "
            f"have no mean: give {where} and evaluation.rerank for all of them"
        )
    if evaluations[0]:
        recorder.write_text("results.md", to_markdown(evaluations))
        recorder.write_text("results.json", to_json(evaluations))
    if len(evaluations) > 1:
        log.info("%s", to_markdown(evaluations).rstrip())
    if recorder.active:
        names = sorted(file.name for file in recorder.folder.iterdir())
        log.info("written to %s: %s", recorder.folder, ", ".join(names))
