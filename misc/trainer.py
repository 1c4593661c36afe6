"""One stage of training, and the optimizer steps within it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from misc.data import Loader
from misc.distributed import Processes
from misc.precision import Precision
from model.criterion import Criterion, Gather
from model.interface import Batch
from model.tbps_clip import TBPSCLIP

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Stage:
    """One training of some parameters on some batches; a recipe is a list of these.

    Args:
        prepare: makes the optimizer, after setting which parameters train.
        schedule: step of the stage -> learning rate.
        clip_grad: largest norm of the gradient, or None.
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
        """Optimizer steps of all epochs."""
        return self.epochs * len(self.loader)


class Trainer:
    """Takes the optimizer steps of a stage.

    Args:
        model: trained in place; among several processes it is wrapped in DDP, anew for each stage.
    """

    def __init__(
        self,
        stage: Stage,
        model: TBPSCLIP,
        processes: Processes,
        gather: Gather,
        precision: Precision,
    ) -> None:
        self.stage, self.model, self.gather, self.precision = stage, model, gather, precision
        self.optimizer = stage.prepare(model)
        self.scaler = precision.scaler()
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.wrapped = _distribute(model, processes)

    def step(self, batch: Batch, step: int) -> tuple[Losses, float]:
        """Take step number `step` of the stage.

        Returns:
            The losses, detached and still on the device, and the learning rate.
        """
        lr = self.stage.schedule(step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        losses = self.backward(batch, progress=step / len(self.stage.loader))
        if self.stage.clip_grad is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.trained, self.stage.clip_grad)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.model.constrain()
        return losses, lr

    def backward(self, batch: Batch, progress: float) -> Losses:
        """The losses of a batch, their gradients left in the parameters.

        This is the seam for encoding a batch in chunks.
        """
        with self.precision.autocast():
            outputs = self.wrapped(batch)
        losses = self.stage.criterion(outputs, batch, self.gather, progress)
        total = self.stage.criterion.total(losses)
        self.scaler.scale(total).backward()
        return {"loss": total.detach()} | {name: loss.detach() for name, loss in losses.items()}


def _distribute(model: TBPSCLIP, processes: Processes) -> nn.Module:
    if processes.world_size == 1:
        return model
    own = [processes.device] if processes.device.type == "cuda" else None
    return DistributedDataParallel(
        model, device_ids=own, broadcast_buffers=False, gradient_as_bucket_view=True
    )
