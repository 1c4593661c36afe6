"""The training loop: stages, epochs, steps; checkpoints and evaluations between them."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from tqdm import tqdm

from errors import InputError
from misc.retrieval.base import Results
from misc.runtime.checkpoint import (
    BEST,
    LAST,
    Position,
    RunIdentity,
    TrainingState,
    save_checkpoint,
)
from misc.runtime.distributed import AllGather, Processes
from misc.runtime.precision import Precision
from misc.runtime.recorder import Recorder, log
from misc.runtime.signals import Request, Requests
from misc.training.bad_steps import BadSteps
from misc.training.meter import Meter, Reading
from misc.training.profiling import StepProfiler
from misc.training.time_left import TimeLeft
from misc.training.trainer import Stage, Trainer, TrainingSettings, check_chunk
from model.gather import Alone, Gather
from model.interface import Method
from model.tuning.trained_weights import trained_state


@dataclass(frozen=True)
class Selection:
    """The evaluation that chooses the best checkpoint.

    Args:
        split: the split that is evaluated.
        evaluate: the model's results on that split.
        metric: the one that is compared, of the first direction in the results.
        period: epochs between two evaluations; the last epoch of a stage is always evaluated.
    """

    split: str
    evaluate: Callable[[Method], Results]
    metric: str = "R1"
    period: int = 1

    def score(self, results: Results) -> float:
        """The number by which results are compared, higher is better."""
        return next(iter(results.values()))[self.metric]

    def describe(self, results: Results) -> str:
        """Words about results, for the log."""
        metrics = next(iter(results.values()))
        return f"R1 {metrics['R1']:.2f}  mAP {metrics['mAP']:.2f}"


class Engine:
    """Trains a model through its stages.

    Args:
        selection: None: the last epoch is the model.
        identity: of the run, which its checkpoints hold.
    """

    def __init__(
        self,
        model: Method,
        processes: Processes,
        precision: Precision,
        recorder: Recorder,
        *,
        identity: RunIdentity,
        settings: TrainingSettings,
        selection: Selection | None = None,
    ) -> None:
        self.model, self.processes, self.precision = model, processes, precision
        self.recorder, self.selection, self.identity = recorder, selection, identity
        self.settings = settings
        gathers = settings.use_gather and processes.world_size > 1
        self.gather: Gather = AllGather() if gathers else Alone()
        self.position = Position()
        self.requests = Requests(processes)
        self.kept = "no checkpoint was saved before"
        self.owes_save = False  # a checkpoint, at the next good step
        self.profiler: StepProfiler | None = None

    def run(
        self,
        stages: Sequence[Stage],
        resume: TrainingState | None = None,
        profiles: bool = False,
    ) -> None:
        """Train every stage, from the beginning or from the state of a checkpoint.

        Args:
            profiles: record a trace of some steps in the main process.

        Raises:
            InputError: if the training diverges, or the checkpoint is of other stages or batches.
        """
        for stage in stages:
            check_chunk(stage, self.model, self.settings.chunk)
        if resume:
            self.position = resume.position
            self._keep()
        first_epoch = first_step = 0
        self.time_left = TimeLeft(sum(stage.steps for stage in stages))
        if profiles and self.processes.is_main:
            self.profiler = StepProfiler(self.recorder.folder, self.processes.device)
        with self.requests, self.profiler or nullcontext():
            for stage in stages:
                if self.position.epoch < first_epoch + stage.epochs:
                    self._run_stage(stage, first_epoch, first_step, resume)
                    resume = None
                first_epoch += stage.epochs
                first_step += stage.steps

    def _run_stage(
        self, stage: Stage, first_epoch: int, first_step: int, resume: TrainingState | None
    ) -> None:
        trainer = Trainer(
            stage,
            self.model,
            self.processes,
            self.precision,
            gather=self.gather,
            settings=self.settings,
            first_step=first_step,
        )
        if resume and self.position.step > first_step:  # else the stage before has ended with it
            trainer.restore(resume.optimizer, resume.scaler)
            if stage.division:
                stage.division.restore(resume.clean)
        self._report_stage(trainer)
        self.time_left.begin(self.position.step)
        bad_steps = BadSteps(stage, self.recorder, self.settings.max_bad_steps)
        for epoch in range(self.position.epoch, first_epoch + stage.epochs):
            epoch_step = first_step + (epoch - first_epoch) * len(stage.loader)
            self._train_epoch(trainer, bad_steps, epoch, epoch_step)
            last = epoch + 1 == first_epoch + stage.epochs
            selection = self.selection if stage.selects else None
            if selection and not (last or _is_due(epoch + 1, selection.period)):
                selection = None
            if selection:
                self._save(trainer)  # a run that is resumed from here evaluates first
            self.position = replace(self.position, epoch=epoch + 1)
            if selection:
                self._select(selection)
            request = self.requests.read(now=True)
            if last or request or not selection:
                self._save(trainer)
            self._leave_if_asked(request)

    def _report_stage(self, trainer: Trainer) -> None:
        stage, device = trainer.stage, self.processes.device.type
        trained = trainer.trained_parameters
        total = sum(parameter.numel() for parameter in self.model.parameters())
        log.info(
            "Stage %s: %s x %s, %s of %s parameters trained (%.2f %%), %s on %s in %s",
            stage.name,
            _count(stage.epochs, "epoch"),
            _count(len(stage.loader), "step"),
            f"{trained:,}",
            f"{total:,}",
            100 * trained / total,
            _count(self.processes.world_size, "process"),
            "CPU" if device == "cpu" else "GPU",
            self.precision.name,
        )

    def _train_epoch(
        self, trainer: Trainer, bad_steps: BadSteps, epoch: int, epoch_step: int
    ) -> None:
        """Train from the current position to the end of the epoch.

        Args:
            epoch_step: the first step of the epoch, counted through all stages.
        """
        loader, first = trainer.stage.loader, self.position.step - epoch_step
        if not 0 <= first <= len(loader):
            raise InputError(
                f"the checkpoint was saved at step {self.position.step}, which is not in epoch "
                f"{epoch + 1} here: it was trained with other stages, batches or data; resume "
                "with the settings of its training"
            )
        self._begin_epoch(trainer.stage, epoch, first)
        meter = Meter(self.processes)
        bar = tqdm(
            loader,
            desc=f"epoch {epoch + 1}",
            initial=first,
            total=len(loader),
            leave=False,
            disable=None if self.processes.is_main else True,
        )
        for done, batch in enumerate(self.processes.batches(bar), first + 1):
            step = self.position.step
            losses, lr, is_bad = trainer.step(batch.to(self.processes.device), step)
            bar.set_postfix_str(self._advance(), refresh=False)
            meter.add(losses, is_bad, len(batch))
            last = done == len(loader)
            request = self.requests.read(now=last)
            save = request or self.owes_save or _is_due(step + 1, self.settings.save_period)
            if last:  # it is saved as the epoch ends, before which a request to leave comes
                save = request == Request.LEAVE
            if save or last or _is_due(step + 1, self.settings.print_period):
                reading = meter.read()
                bad_steps.read(reading.bad, epoch, epoch_step, done)
                self._report(f"epoch {epoch + 1}  step {done}/{len(loader)}", trainer, reading, lr)
                bad_steps.check(self.kept)
            # The weights are not known to be good before a step has been.
            self.owes_save = bool(save and bad_steps.in_row)
            if save and not self.owes_save:
                self._save(trainer)
            self._leave_if_asked(request)

    def _advance(self) -> str:
        """Count a step; the words about the time that is left."""
        self.position = replace(self.position, step=self.position.step + 1)
        if self.profiler:
            self.profiler.step()
        return self.time_left.describe(self.position.step)

    def _begin_epoch(self, stage: Stage, epoch: int, first: int) -> None:
        """Prepare model and loader for an epoch from step `first` on.

        The division belongs to the weights that the epoch began with: within it, it is restored.
        """
        if stage.division and (first == 0 or stage.division.labels is None):
            seconds = stage.division.divide(self.model, epoch)
            row = {"step": self.position.step, "epoch": epoch + 1, "stage": stage.name}
            self.recorder.write({**row, "division_seconds": seconds})
        self.model.train()
        stage.loader.start(epoch, first)

    def _leave_if_asked(self, request: Request) -> None:
        if request == Request.LEAVE:
            log.info("SIGTERM: leaving at step %d; %s", self.position.step, self.kept)
            self.requests.leave()

    def _report(self, progress: str, trainer: Trainer, reading: Reading, lr: float) -> None:
        """Write the means of the losses to the log and the record."""
        losses, speed = reading.losses, reading.samples_per_second
        if not losses:  # no step was good
            return
        row = {
            "step": self.position.step,
            "epoch": self.position.epoch + 1,
            "stage": trainer.stage.name,
            "trained_parameters": trainer.trained_parameters,
        }
        costs = {
            "samples_per_second": speed,
            "peak_memory_gib": self.processes.peak_memory() / 2**30,
        }
        self.recorder.write({**row, "lr": lr, **losses, **costs})
        values = "  ".join(f"{name} {mean:.4f}" for name, mean in losses.items())
        log.info("%s  %s  lr %.2e  %.0f samples/s", progress, values, lr, speed)

    def _select(self, selection: Selection) -> None:
        """Evaluate the split that selects, and keep the model if it is the best so far."""
        position, results = self.position, selection.evaluate(self.model)
        for direction, metrics in results.items():
            row = {"step": position.step, "epoch": position.epoch, "split": selection.split}
            self.recorder.write({**row, "direction": direction, **metrics})
        score = selection.score(results)
        is_better = score > position.best
        if is_better:
            self.position = replace(position, best=score, best_epoch=position.epoch)
            self._write(BEST)
        log.info(
            "epoch %d  %s  %s%s",
            position.epoch,
            selection.split,
            selection.describe(results),
            "  (best so far)" if is_better else "",
        )

    def _save(self, trainer: Trainer) -> None:
        self._check_weights()
        optimizer, scaler = trainer.optimizer.state_dict(), trainer.scaler.state_dict()
        division = trainer.stage.division
        clean = division.labels if division else None
        training = TrainingState(self.position, optimizer, scaler, self.identity.data, clean)
        self._write(LAST, training)
        self._keep()

    def _keep(self) -> None:
        file, position = self.recorder.folder / LAST, self.position
        self.kept = f"{file} is kept, from epoch {position.epoch}, step {position.step}"

    def _check_weights(self) -> None:
        """Check that the weights are finite, before they are evaluated or replace others.

        Raises:
            InputError: some are not.
        """
        name = self.processes.share(self._find_bad_weight() if self.processes.is_main else None)
        if name:
            raise InputError(
                f"{name} has values that are not finite at step {self.position.step}: the training "
                "has diverged; lower schedule.lr, or give experiment.precision=bf16 or fp32; "
                f"{self.kept}"
            )

    def _find_bad_weight(self) -> str | None:
        """The name of a weight in the checkpoints that is not finite, if there is one."""
        weights = self._weights()
        are_finite = torch.stack([tensor.isfinite().all() for tensor in weights.values()]).tolist()
        return next((n for n, finite in zip(weights, are_finite, strict=True) if not finite), None)

    def _weights(self) -> dict[str, Tensor]:
        return trained_state(self.model.state_dict(), self.identity.omitted_names)

    def _write(self, name: str, training: TrainingState | None = None) -> None:
        if self.processes.is_main:
            file = self.recorder.folder / name
            checkpoint = self.identity.checkpoint(
                file, self._weights(), self.position.epoch, training
            )
            save_checkpoint(checkpoint.to_tree(), file)


def _count(number: int, noun: str) -> str:
    plural = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{'' if number == 1 else plural}"


def _is_due(step: int, period: int) -> bool:
    return period > 0 and step % period == 0
