"""One job, from its configuration to its record: training with the evaluation at its end, or
evaluation alone.
"""

import time
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from torch import Tensor

from errors import InputError
from misc.build import build_data, build_rerank, build_retrieval, build_stages
from misc.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    find_checkpoint,
    load_weights,
    read_checkpoint,
)
from misc.datasets.text_person import Told
from misc.distributed import Processes
from misc.engine import Engine, Selection
from misc.features import save_features
from misc.precision import Precision
from misc.recorder import CLOSING, Recorder, log
from misc.report import Evaluation, to_json, to_markdown
from misc.retrieval import Results, format_table
from misc.seeding import Purpose, seed_torch
from model.build import (
    Architecture,
    adapt_weights,
    build_criterion,
    build_model,
    build_tokenizer,
    describe_architecture,
    without_clip_vocabulary,
)
from model.published import Published, is_published, read_published
from model.tbps_clip import TBPSCLIP
from options import Config, dump, to_tree

RUNS = Path("runs")


class Job:
    """The parts that a configuration describes, built in one process of a run.

    Args:
        recipe: a name for the configuration; a checkpoint of ours has its own.
        start: the checkpoint that the model takes its weights from, if any.
        checkpoint: its content, if it is of this project.
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
        start: Path | None = None,
        checkpoint: Checkpoint | None = None,
        for_training: bool = True,
    ) -> None:
        self.config, told = without_clip_vocabulary(config)
        config, self.processes = self.config, processes
        if told and processes.is_main:
            log.warning(told)
        self.start, self.checkpoint = start, checkpoint
        self.recipe = checkpoint["recipe"] if checkpoint else recipe
        self.precision = Precision(config.experiment.precision, processes.device)
        self.data = build_data(config)
        self.tokenizer = build_tokenizer(config)
        seed_torch(config.misc.seed, Purpose.INITIALISATION)
        self.model = self._build_model(for_training).to(processes.device)

    def _build_model(self, for_training: bool) -> TBPSCLIP:
        """The model with the weights of the checkpoint, or of the one that training begins from."""
        config, identities = self.config, self.data.identities
        start = self.start
        if start is None and for_training and config.model.init_from:
            start = find_checkpoint(Path(config.model.init_from), BEST, LAST)
        if start is None:
            return build_model(config, identities)
        state, architecture = self._read_weights(start)
        if self.start is None:  # a new training: heads of its own, pictures of its own size
            state, architecture = adapt_weights(config, state, architecture, identities)
        model = build_model(config, identities, architecture, with_heads=for_training)
        if self.start is None or not for_training:
            parts = ((name.partition("."), tensor) for name, tensor in state.items())
            towers = {rest: tensor for (part, _, rest), tensor in parts if part == "clip"}
            load_weights(model.clip, towers, start)
        else:
            load_weights(model, state, start)
        model.constrain()  # the log scale of others may have drifted
        return model

    def _read_weights(self, file: Path) -> tuple[dict[str, Tensor], Architecture]:
        """Weights in our names, and what they are of, from a checkpoint of ours or another's."""
        if self.checkpoint is None and is_published(file):
            published = self._read_published(file)
            return published.state, published.architecture
        checkpoint = self.checkpoint or read_checkpoint(file)
        return checkpoint["model"], checkpoint["architecture"]

    def _read_published(self, file: Path) -> Published:
        data, model = self.config.data, self.config.model
        scratch = model.clip_pretrained is None
        heads = (model.vision.heads, model.text.heads) if scratch else None
        try:
            return read_published(file, data.image_size, model.stride, heads)
        except InputError:
            if file == self.start:
                raise
            return read_published(file, None, model.stride, heads)  # of another size: a square

    def train(self, output: Path | None) -> None:
        """Train through all stages, then evaluate the chosen model on the test split.

        Args:
            output: the run's folder; by default the one that is resumed, else runs/<recipe>-<time>.
        """
        config, processes = self.config, self.processes
        criterion = build_criterion(config)
        stages = build_stages(config, self.data, self.tokenizer, self.model, criterion, processes)
        selection = self._selection()
        folder, resume_step = self._folder_to_train_in(output)
        with Recorder(folder, processes.is_main, resume_step) as recorder:
            recorder.write_text("config.yaml", dump(config))
            if self.start:
                log.info("going on from %s", self.start)
            engine = Engine(
                self.model,
                processes,
                self.precision,
                recorder,
                selection,
                identity={
                    "config": to_tree(config),
                    "recipe": self.recipe,
                    "architecture": describe_architecture(self.model),
                },
                seed=config.misc.seed,
                chunk=config.data.batch_size,
                use_gather=config.model.use_gather,
                print_period=config.log.print_period,
                save_period=config.log.save_period,
            )
            engine.run(stages, self.checkpoint)
            epoch, chosen = engine.position.epoch, "the last"
            if selection.split:
                epoch, chosen = engine.position.best_epoch, f"the best on {selection.split}"
                if processes.is_main:
                    best = read_checkpoint(folder / BEST)
                    load_weights(self.model, best["model"], folder / BEST)
                processes.align(self.model)
            if selection.split == "test":
                chosen += " itself, as is published"
            elif selection.split is None and config.experiment.select_on == "val":
                chosen += ", as there is no val split to choose on"
            step, chosen = engine.position.step, f"epoch {epoch}, {chosen}"
            write_tables(recorder, [self.test(recorder, epoch, step, chosen)])

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
            raise InputError(f"{self.start} holds weights alone: resume from {LAST} beside it")
        here = self.start.parent
        if output and output.resolve() != here.resolve():
            raise InputError(
                f"--output {output} is not the folder of {self.start}: a run goes on in its own; "
                "leave --output out, or copy the folder first"
            )
        if self.checkpoint["position"]["best_epoch"] and not (here / BEST).is_file():
            raise InputError(f"{here} has no {BEST}, which {self.start} counts on: put it back")
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
        if split == "test" and split not in self.data.splits:
            raise InputError(
                "experiment.select_on=test: the annotations have no test split; give val or last"
            )
        if split not in self.data.splits:
            return Selection(split=None)
        return Selection(
            split, partial(self._results, self.data.splits[split]), self.config.evaluation.period
        )

    def _results(self, told: Told, model: TBPSCLIP) -> Results:
        """For the selection: the plain metrics."""
        retrieval = build_retrieval(self.config, told, self.tokenizer)
        return retrieval.evaluate(model, self.processes, self.precision)

    def _closing_results(self, told: Told, features: Path | None) -> Results:
        retrieval = build_retrieval(self.config, told, self.tokenizer)
        image, text = retrieval.encode(self.model, self.processes, self.precision)
        if features and self.processes.is_main:
            save_features(features, retrieval.features(image, text, self.model))
            log.info("features written to %s", features)
        return retrieval.rank(image, text, self.processes, build_rerank(self.config))

    def test(
        self,
        recorder: Recorder,
        epoch: int,
        step: int,
        chosen: str,
        features: Path | None = None,
    ) -> Evaluation:
        """Evaluate on the test split, or the val split without one, and on the further test sets.

        Args:
            chosen: which weights these are, in words.
            features: where the encoded split goes, of the dataset's own and not the further sets.
        """
        split = next((name for name in ("test", "val") if name in self.data.splits), None)
        galleries = {f"{self.data.name} {split}": self.data.splits[split]} if split else {}
        galleries |= {f"{name} test": told for name, told in self.data.test_sets.items()}
        evaluation = {}
        for name, told in galleries.items():
            results = evaluation[name] = self._closing_results(told, features)
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
            evaluations.append(job.test(recorder, epoch, number, str(job.start), features))
            features = None
        write_tables(recorder, evaluations)


def write_tables(recorder: Recorder, evaluations: Sequence[Evaluation]) -> None:
    """The closing tables for papers, over all checkpoints, and the paths of what was written."""
    rows = [{name: set(results) for name, results in each.items()} for each in evaluations]
    if any(other != rows[0] for other in rows):
        raise InputError(
            "the checkpoints are not evaluated on the same datasets in the same way, so that they "
            "have no mean: give data.annotation_file, data.image_root, data.test_sets, "
            "data.languages and evaluation.rerank for all of them"
        )
    if evaluations[0]:
        recorder.write_text("results.md", to_markdown(evaluations))
        recorder.write_text("results.json", to_json(evaluations))
    if len(evaluations) > 1:
        log.info("%s", to_markdown(evaluations).rstrip())
    if recorder.active:
        names = sorted(file.name for file in recorder.folder.iterdir())
        log.info("written to %s: %s", recorder.folder, ", ".join(names))
