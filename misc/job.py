"""One job, from its configuration to its record: training with the evaluation at its end, or
evaluation alone.
"""

import time
from functools import partial
from pathlib import Path

from errors import InputError
from misc.build import build_data, build_retrieval, build_stages
from misc.checkpoint import BEST, LAST, Checkpoint, load_model, read_checkpoint
from misc.distributed import Processes
from misc.engine import Engine, Selection
from misc.precision import Precision
from misc.recorder import Recorder, log, start_logging
from misc.retrieval import Results, format_table
from misc.seeding import Purpose, seed_torch
from model.build import build_criterion, build_model, build_tokenizer, describe_architecture
from model.tbps_clip import TBPSCLIP
from options import Config, dump, to_tree

RUNS = Path("runs")


class Job:
    """The parts that a configuration describes, built in one process of a run.

    Args:
        recipe: a name for the configuration.
        start: the file that `checkpoint` was read from; the model takes its weights.

    Raises:
        InputError: if something that the configuration names is not there or does not fit. Nothing
        has been written then.
    """

    def __init__(
        self,
        config: Config,
        recipe: str,
        processes: Processes,
        checkpoint: Checkpoint | None = None,
        start: Path | None = None,
    ) -> None:
        start_logging(processes.is_main)
        self.config, self.recipe, self.processes = config, recipe, processes
        self.checkpoint, self.start = checkpoint, start
        self.precision = Precision(config.experiment.precision, processes.device)
        self.data = build_data(config)
        log.info("%s: %s", config.data.annotation_file, self.data.describe())
        self.tokenizer = build_tokenizer(config)
        seed_torch(config.misc.seed, Purpose.INITIALISATION)
        self.model = build_model(config, checkpoint["architecture"] if checkpoint else None)
        if checkpoint and start:
            load_model(self.model, checkpoint, start)
        self.model.to(processes.device)

    def train(self, output: Path | None) -> None:
        """Train through all stages, then evaluate the chosen model on the test split.

        Args:
            output: the run's folder; by default the one that is resumed, else runs/<recipe>-<time>.
        """
        config, processes = self.config, self.processes
        criterion = build_criterion(config)
        stages = build_stages(config, self.data, self.tokenizer, self.model, criterion, processes)
        selection = self._selection()
        folder = output or (self.start.parent if self.start else self._new_folder(self.recipe))
        goes_on = self.start is not None and self.start.parent == folder
        if not goes_on and (folder / LAST).exists():
            raise InputError(
                f"--output {folder} holds a run already: go on with it by --resume auto, or give "
                "another folder"
            )
        resume_step = self.checkpoint["position"]["step"] if goes_on and self.checkpoint else None
        recorder = Recorder(folder, processes.is_main, resume_step)
        recorder.write_text("config.yaml", dump(config))
        if self.start:
            log.info("going on from %s", self.start)
        identity = {
            "config": to_tree(config),
            "recipe": self.recipe,
            "architecture": describe_architecture(self.model),
        }
        engine = Engine(
            self.model,
            processes,
            self.precision,
            recorder,
            selection,
            identity,
            seed=config.misc.seed,
            use_gather=config.model.use_gather,
            print_period=config.log.print_period,
            save_period=config.log.save_period,
        )
        engine.run(stages, self.checkpoint)
        epoch = engine.position.epoch
        if selection.split:
            epoch = engine.position.best_epoch
            if processes.is_main:
                load_model(self.model, read_checkpoint(folder / BEST), folder / BEST)
            processes.align(self.model)
        self._report(recorder, epoch, engine.position.step, self._how_chosen(selection, epoch))
        recorder.close()

    def evaluate(self, output: Path | None) -> None:
        """Evaluate the checkpoint on the test split.

        Args:
            output: the folder of the record; by default runs/<recipe>-evaluated-<time>.
        """
        assert self.checkpoint is not None
        folder = output or self._new_folder(f"{self.recipe}-evaluated")
        if (folder / LAST).exists():
            raise InputError(f"--output {folder} holds a training run; give another folder")
        recorder = Recorder(folder, self.processes.is_main)
        recorder.write_text("config.yaml", dump(self.config))
        self._report(recorder, self.checkpoint["epoch"], 0, str(self.start))
        recorder.close()

    def _new_folder(self, name: str) -> Path:
        return self.processes.share(RUNS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")

    def _selection(self) -> Selection:
        """What chooses the best checkpoint, as far as the dataset has it."""
        split = self.config.experiment.select_on
        if split == "test" and split not in self.data.splits:
            raise InputError(
                "experiment.select_on=test: the annotations have no test split; give val or last"
            )
        if split not in self.data.splits:
            return Selection(split=None)
        return Selection(split, partial(self._results, split), self.config.evaluation.period)

    def _how_chosen(self, selection: Selection, epoch: int) -> str:
        match selection.split:
            case "test":
                return f"epoch {epoch}, the best on test itself, as is published"
            case "val":
                return f"epoch {epoch}, the best on val"
        if self.config.experiment.select_on == "val":
            return f"epoch {epoch}, the last, as there is no val split to choose on"
        return f"epoch {epoch}, the last"

    def _results(self, split: str, model: TBPSCLIP) -> Results:
        retrieval = build_retrieval(self.config, self.data, split, self.tokenizer)
        return retrieval.evaluate(model, self.processes, self.precision)

    def _report(self, recorder: Recorder, epoch: int, step: int, how_chosen: str) -> None:
        """The closing table, and the paths of what the run wrote."""
        split = next((name for name in ("test", "val") if name in self.data.splits), None)
        if split:
            results = self._results(split, self.model)
            for direction, metrics in results.items():
                row = {"step": step, "epoch": epoch, "split": split, "direction": direction}
                recorder.write({**row, **metrics})
            log.info("%s", format_table(f"{split} split: {how_chosen}", results))
        else:
            log.info("the annotations have neither a test nor a val split: nothing to evaluate")
        if self.processes.is_main:
            names = sorted(file.name for file in recorder.folder.iterdir())
            log.info("written to %s: %s", recorder.folder, ", ".join(names))
