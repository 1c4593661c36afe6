"""The training loop: stages, epochs, steps; checkpoints and evaluations between them."""

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from errors import InputError
from misc.retrieval.base import Results
from misc.runtime.checkpoint import BEST, LAST, Checkpoint, save_checkpoint
from misc.runtime.distributed import AllGather, Processes
from misc.runtime.precision import Precision
from misc.runtime.recorder import Recorder, log
from misc.training.trainer import Losses, Stage, Trainer, check_chunk
from model.gather import Alone, Gather
from model.interface import Method
from model.tuning.tuned_weights import trained_state


@dataclass(frozen=True)
class Selection:
    """Which evaluation chooses the best checkpoint.

    Args:
        split: the split that is evaluated, or None: the last epoch is the model.
        evaluate: the model's results on that split.
        metric: the one that is compared, of the first direction in the results.
        period: epochs between two evaluations; the last epoch of a stage is always evaluated.
    """

    split: str | None
    evaluate: Callable[[Method], Results] | None = None
    metric: str = "R1"
    period: int = 1


@dataclass
class Position:
    """Where a training stands: what comes next, through all stages, and the best so far."""

    epoch: int = 0
    step: int = 0
    best: float = -math.inf
    best_epoch: int = 0


class Engine:
    """Trains a model through its stages.

    Args:
        identity: what every checkpoint says of itself: `config`, `recipe` and `architecture`.
        seed: of the dropout masks.
        chunk: samples that a process encodes at once.
        left_out: names of the weights that checkpoints do not hold.
        use_gather: contrast with the features of all processes.
        print_period: steps between two readings of the losses; between them nothing waits for the
            device.
        save_period: steps between two checkpoints within an epoch, or 0.
    """

    def __init__(
        self,
        model: Method,
        processes: Processes,
        precision: Precision,
        recorder: Recorder,
        selection: Selection,
        identity: Checkpoint,
        seed: int,
        chunk: int,
        use_gather: bool = True,
        print_period: int = 50,
        save_period: int = 0,
        left_out: Collection[str] = (),
    ) -> None:
        self.model, self.processes, self.precision = model, processes, precision
        self.recorder, self.selection, self.identity = recorder, selection, identity
        self.seed, self.chunk, self.left_out = seed, chunk, left_out
        self.print_period, self.save_period = print_period, save_period
        self.gather: Gather = AllGather() if use_gather and processes.world_size > 1 else Alone()
        self.position = Position()

    def run(self, stages: Sequence[Stage], resume: Checkpoint | None = None) -> None:
        """Train every stage, from the beginning or from where a checkpoint stands.

        Raises:
            InputError: if the training diverges, or the checkpoint is of other stages or batches.
        """
        for stage in stages:
            check_chunk(stage, self.model, self.chunk)
        if resume:
            self.position = Position(**resume["position"])
        first_epoch = first_step = 0
        for stage in stages:
            if self.position.epoch < first_epoch + stage.epochs:
                self._run_stage(stage, first_epoch, first_step, resume)
                resume = None
            first_epoch += stage.epochs
            first_step += stage.steps

    def _run_stage(
        self, stage: Stage, first_epoch: int, first_step: int, resume: Checkpoint | None
    ) -> None:
        trainer = Trainer(
            stage,
            self.model,
            self.processes,
            self.gather,
            self.precision,
            self.chunk,
            self.seed,
            first_step,
        )
        if resume and self.position.step > first_step:  # else the stage before has ended with it
            trainer.restore(resume["optimizer"], resume["scaler"])
        trained = trainer.trained_parameters
        every = sum(parameter.numel() for parameter in self.model.parameters())
        log.info(
            "stage %s: %d epochs of %d steps, %s of %s parameters (%.2f %%), on %d x %s in %s",
            stage.name,
            stage.epochs,
            len(stage.loader),
            f"{trained:,}",
            f"{every:,}",
            100 * trained / every,
            self.processes.world_size,
            self.processes.device.type,
            self.precision.name,
        )
        for epoch in range(self.position.epoch, first_epoch + stage.epochs):
            epoch_step = first_step + (epoch - first_epoch) * len(stage.loader)
            self._train_epoch(trainer, epoch, epoch_step)
            self.position.epoch = epoch + 1
            last = epoch + 1 == first_epoch + stage.epochs
            if stage.selects and (last or _is_due(epoch + 1, self.selection.period)):
                self._select()
            self._save(trainer)

    def _train_epoch(self, trainer: Trainer, epoch: int, epoch_step: int) -> None:
        """Train from the current position to the end of the epoch.

        Args:
            epoch_step: the first step of the epoch, counted through all stages.
        """
        loader, first = trainer.stage.loader, self.position.step - epoch_step
        if not 0 <= first < len(loader):
            raise InputError(
                f"the checkpoint stands at step {self.position.step}, which is not in epoch "
                f"{epoch + 1} here: it was trained with other stages, batches or data; resume "
                "with the settings it was trained with"
            )
        self.model.train()
        loader.start(epoch, first)
        meter = Meter(self.processes)
        bar = tqdm(
            loader,
            desc=f"epoch {epoch + 1}",
            initial=first,
            total=len(loader),
            leave=False,
            disable=None if self.processes.is_main else True,
        )
        for done, batch in enumerate(bar, first + 1):
            step = self.position.step
            losses, lr = trainer.step(batch.to(self.processes.device), step)
            self.position.step = step + 1
            meter.add(losses, len(batch))
            save = done < len(loader) and _is_due(step + 1, self.save_period)
            if save or done == len(loader) or _is_due(step + 1, self.print_period):
                place = f"epoch {epoch + 1}  step {done}/{len(loader)}"
                self._report(place, trainer, meter.read(), lr)
            if save:
                self._save(trainer)

    def _report(self, place: str, trainer: Trainer, means: dict[str, float], lr: float) -> None:
        """Write what the meter has read to the log and the record."""
        losses = {name: mean for name, mean in means.items() if name != "samples_per_second"}
        if not math.isfinite(losses["loss"]):
            raise InputError(
                f"the loss is {losses['loss']} at {place}: the training has diverged; lower "
                "schedule.lr, or give experiment.precision=bf16 or fp32; the last checkpoint in "
                f"{self.recorder.folder} is from before"
            )
        row = {
            "step": self.position.step,
            "epoch": self.position.epoch + 1,
            "stage": trainer.stage.name,
            "trained_parameters": trainer.trained_parameters,
        }
        means["peak_memory_gib"] = self.processes.peak_memory() / 2**30
        self.recorder.write({**row, "lr": lr, **means})
        told = "  ".join(f"{name} {mean:.4f}" for name, mean in losses.items())
        speed = means["samples_per_second"]
        log.info("%s  %s  lr %.2e  %.0f samples/s", place, told, lr, speed)

    def _select(self) -> None:
        """Evaluate the split that selects, and keep the model if it is the best so far."""
        selection, position = self.selection, self.position
        if selection.evaluate is None:
            return
        results = selection.evaluate(self.model)
        for direction, metrics in results.items():
            row = {"step": position.step, "epoch": position.epoch, "split": selection.split}
            self.recorder.write({**row, "direction": direction, **metrics})
        metrics = next(iter(results.values()))
        better = metrics[selection.metric] > position.best
        if better:
            position.best, position.best_epoch = metrics[selection.metric], position.epoch
            self._write(BEST, {})
        log.info(
            "epoch %d  %s  R1 %.2f  mAP %.2f%s",
            position.epoch,
            selection.split,
            metrics["R1"],
            metrics["mAP"],
            "  (best so far)" if better else "",
        )

    def _save(self, trainer: Trainer) -> None:
        state = {
            "optimizer": trainer.optimizer.state_dict(),
            "scaler": trainer.scaler.state_dict(),
            "position": vars(self.position),
        }
        self._write(LAST, state)

    def _write(self, name: str, state: Checkpoint) -> None:
        if self.processes.is_main:
            weights = trained_state(self.model.state_dict(), self.left_out)
            own = {"model": weights, "epoch": self.position.epoch}
            save_checkpoint({**self.identity, **own, **state}, self.recorder.folder / name)


def _is_due(step: int, period: int) -> bool:
    return period > 0 and step % period == 0


class Meter:
    """Means of the losses since the last reading, over the processes.

    Reading is the only wait for the device.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self._clear()

    def _clear(self) -> None:
        self.rows: list[Tensor] = []
        self.samples = 0
        self.since = time.perf_counter()

    def add(self, losses: Losses, samples: int) -> None:
        """Remember the losses of one step on `samples` samples of this process."""
        self.names = list(losses)
        self.rows.append(torch.stack(list(losses.values())))
        self.samples += samples * self.processes.world_size

    def read(self) -> dict[str, float]:
        """Mean losses by name, and `samples_per_second` of all processes together."""
        means = self.processes.mean(torch.stack(self.rows).mean(dim=0)).tolist()
        speed = self.samples / (time.perf_counter() - self.since)
        self._clear()
        return dict(zip(self.names, means, strict=True)) | {"samples_per_second": speed}
