"""The training loop: stages, epochs, steps; checkpoints and evaluations between them."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from errors import InputError
from misc.checkpoint import BEST, LAST, Checkpoint, save_checkpoint
from misc.data import Loader
from misc.distributed import AllGather, Processes
from misc.precision import Precision
from misc.recorder import Recorder, log
from misc.retrieval import Results
from misc.seeding import Purpose, seed_torch
from model.criterion import Alone, Criterion, Gather
from model.interface import Batch
from model.tbps_clip import TBPSCLIP


@dataclass(frozen=True)
class Stage:
    """One training of some parameters on some batches; a recipe is a list of these.

    Args:
        prepare: makes the optimizer, after setting which parameters train.
        schedule: step of the stage -> learning rate.
    """

    name: str
    criterion: Criterion
    loader: Loader
    prepare: Callable[[TBPSCLIP], torch.optim.Optimizer]
    schedule: Callable[[int], float]
    epochs: int
    clip_grad: float | None = None

    @property
    def steps(self) -> int:
        return self.epochs * len(self.loader)


@dataclass(frozen=True)
class Selection:
    """Which evaluation chooses the best checkpoint.

    Args:
        split: the split that is evaluated, or None: the last epoch is the model.
        evaluate: the model's results on that split.
        period: epochs between two evaluations; the last epoch of a stage is always evaluated.
    """

    split: str | None
    evaluate: Callable[[TBPSCLIP], Results] | None = None
    period: int = 1


@dataclass
class Position:
    """Where a training stands: what comes next, and the best so far."""

    stage: int = 0
    epoch: int = 0  # of all stages together
    step: int = 0  # of all stages together
    best: float = -math.inf
    best_epoch: int = 0


def distribute(model: nn.Module, processes: Processes) -> nn.Module:
    """The model as it trains among its processes: wrapped in DDP when there are several."""
    if processes.world_size == 1:
        return model
    own = [processes.device] if processes.device.type == "cuda" else None
    return DistributedDataParallel(
        model, device_ids=own, broadcast_buffers=False, gradient_as_bucket_view=True
    )


class Engine:
    """Trains a model through its stages.

    Args:
        identity: what every checkpoint says of itself: `config` and `recipe`.
        use_gather: contrast with the features of all processes.
        print_period: steps between two readings of the losses; between them nothing waits for the
            device.
        save_period: steps between two checkpoints within an epoch, or 0.
    """

    def __init__(
        self,
        model: TBPSCLIP,
        processes: Processes,
        precision: Precision,
        recorder: Recorder,
        selection: Selection,
        identity: Checkpoint,
        seed: int,
        use_gather: bool = True,
        print_period: int = 50,
        save_period: int = 0,
    ) -> None:
        self.model, self.processes, self.precision = model, processes, precision
        self.recorder, self.selection, self.identity = recorder, selection, identity
        self.seed, self.print_period, self.save_period = seed, print_period, save_period
        self.gather: Gather = AllGather() if use_gather and processes.world_size > 1 else Alone()
        self.position = Position()

    def run(self, stages: Sequence[Stage], resume: Checkpoint | None = None) -> None:
        """Train every stage, from the beginning or from where a checkpoint stands."""
        if resume:
            self.position = Position(**resume["position"])
        first_step = sum(stage.steps for stage in stages[: self.position.stage])
        first_epoch = sum(stage.epochs for stage in stages[: self.position.stage])
        for stage in stages[self.position.stage :]:
            self._run_stage(stage, first_epoch, first_step, resume)
            first_epoch += stage.epochs
            first_step += stage.steps
            resume = None

    def _run_stage(
        self, stage: Stage, first_epoch: int, first_step: int, resume: Checkpoint | None
    ) -> None:
        optimizer, scaler = stage.prepare(self.model), self.precision.scaler()
        if resume and self.position.step > first_step:  # else the stage before has ended with it
            optimizer.load_state_dict(resume["optimizer"])
            scaler.load_state_dict(resume["scaler"])
        trainer = Trainer(
            stage,
            distribute(self.model, self.processes),
            optimizer,
            scaler,
            self.gather,
            self.precision,
        )
        trained = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        log.info(
            "stage %s: %d epochs of %d steps, %s trainable parameters, %s",
            stage.name, stage.epochs, len(stage.loader), f"{trained:,}", self.precision.name,
        )  # fmt: skip
        for epoch in range(self.position.epoch, first_epoch + stage.epochs):
            self._train_epoch(trainer, epoch, first_step)
            self.position.epoch = epoch + 1
            last = epoch + 1 == first_epoch + stage.epochs
            if last:
                self.position.stage += 1
            if last or (epoch + 1) % self.selection.period == 0:
                self._select()
            self._save(trainer)

    def _train_epoch(self, trainer: "Trainer", epoch: int, first_step: int) -> None:
        """Train from the current position to the end of the epoch."""
        self.model.train()
        loader = trainer.stage.loader
        begun = (self.position.step - first_step) % len(loader)
        assert loader.sampler is not None
        loader.sampler.start(epoch, begun)
        meter = Meter(self.processes)
        bar = tqdm(
            loader,
            desc=f"epoch {epoch + 1}",
            initial=begun,
            total=len(loader),
            leave=False,
            disable=None if self.processes.is_main else True,
        )
        for batch in bar:
            step = self.position.step
            seed_torch(self.seed, Purpose.STEP, step, self.processes.rank)
            losses, lr = trainer.step(batch.to(self.processes.device), step - first_step)
            self.position.step = step + 1
            meter.add(losses, len(batch))
            begun += 1
            save = begun < len(loader) and _is_due(step + 1, self.save_period)
            if save or begun == len(loader) or _is_due(step + 1, self.print_period):
                self._report(meter.read(), lr, trainer.stage.name, epoch, len(loader))
            if save:
                self._save(trainer)

    def _report(
        self, means: dict[str, float], lr: float, stage: str, epoch: int, steps: int
    ) -> None:
        row = {"step": self.position.step, "epoch": epoch + 1, "stage": stage, "lr": lr, **means}
        if self.processes.device.type == "cuda":
            row["peak_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        self.recorder.write(row)
        losses = "  ".join(
            f"{name} {value:.4f}" for name, value in means.items() if name != "samples_per_second"
        )
        log.info(
            "epoch %d  step %d (%d an epoch)  %s  lr %.2e  %.0f samples/s",
            epoch + 1, self.position.step, steps, losses, lr, means["samples_per_second"],
        )  # fmt: skip
        if not math.isfinite(means["loss"]):
            raise InputError(
                f"the loss is {means['loss']} at step {self.position.step}: the training has "
                "diverged; lower "
                "schedule.lr, or give experiment.precision=bf16 or fp32; the last checkpoint in "
                f"{self.recorder.folder} is from before"
            )

    def _select(self) -> None:
        """Evaluate the split that selects, and keep the model if it is the best so far."""
        selection, position = self.selection, self.position
        if selection.evaluate is None:
            return
        results = selection.evaluate(self.model)
        for direction, metrics in results.items():
            row = {"step": position.step, "epoch": position.epoch, "split": selection.split}
            self.recorder.write({**row, "direction": direction, **metrics})
        score = results["text to image"]["R1"]
        better = score > position.best
        if better:
            position.best, position.best_epoch = score, position.epoch
            self._write(BEST, {})
        log.info(
            "epoch %d  %s  R1 %.2f  mAP %.2f%s", position.epoch, selection.split, score,
            results["text to image"]["mAP"], "  (best so far)" if better else "",
        )  # fmt: skip

    def _save(self, trainer: "Trainer") -> None:
        state = {
            "optimizer": trainer.optimizer.state_dict(),
            "scaler": trainer.scaler.state_dict(),
            "position": vars(self.position),
        }
        self._write(LAST, state)

    def _write(self, name: str, state: Checkpoint) -> None:
        if self.processes.is_main:
            content = {
                **self.identity,
                "model": self.model.state_dict(),
                "epoch": self.position.epoch,
            }
            save_checkpoint({**content, **state}, self.recorder.folder / name)


def _is_due(step: int, period: int) -> bool:
    return period > 0 and step % period == 0


class Trainer:
    """One optimizer step after another, within a stage."""

    def __init__(
        self,
        stage: Stage,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        gather: Gather,
        precision: Precision,
    ) -> None:
        self.stage, self.model, self.optimizer, self.scaler = stage, model, optimizer, scaler
        self.gather, self.precision = gather, precision
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.bare: TBPSCLIP = model.module if isinstance(model, DistributedDataParallel) else model  # type: ignore[assignment]

    def step(self, batch: Batch, step: int) -> tuple[dict[str, Tensor], float]:
        """Take one step; the losses are detached and stay on the device."""
        lr = self.stage.schedule(step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        losses = self.backward(batch, step / len(self.stage.loader))
        if self.stage.clip_grad is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters, self.stage.clip_grad)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.bare.constrain()
        return losses, lr

    def backward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Losses of a batch, their gradients left in the parameters; the seam for encoding it in
        chunks.
        """
        with self.precision.autocast():
            outputs = self.model(batch)
        losses = self.stage.criterion(outputs, batch, self.gather, progress)
        total = self.stage.criterion.total(losses)
        self.scaler.scale(total).backward()
        return {"loss": total.detach()} | {name: loss.detach() for name, loss in losses.items()}


class Meter:
    """Means of the losses since the last reading, over the processes; reading is the only wait for
    the device.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self._clear()

    def _clear(self) -> None:
        self.rows: list[Tensor] = []
        self.samples = 0
        self.since = time.perf_counter()

    def add(self, losses: dict[str, Tensor], samples: int) -> None:
        self.names = list(losses)
        self.rows.append(torch.stack(list(losses.values())))
        self.samples += samples * self.processes.world_size

    def read(self) -> dict[str, Any]:
        """Mean losses by name, and `samples_per_second` of all processes together."""
        means = self.processes.mean(torch.stack(self.rows).mean(dim=0)).tolist()
        elapsed = time.perf_counter() - self.since
        result = dict(zip(self.names, means, strict=True)) | {
            "samples_per_second": self.samples / elapsed
        }
        self._clear()
        return result
