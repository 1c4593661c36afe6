"""One stage of training, and the optimizer steps within it."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from errors import InputError
from misc.data.loader import Trainable, TrainLoader
from misc.runtime.distributed import AllGather, Processes
from misc.runtime.precision import Precision
from misc.runtime.seeding import Purpose, seed_torch
from misc.training import step_graphs
from misc.training.division import Division
from model.batch_norm import BatchNorm, share_statistics
from model.criteria.base import Criterion, Losses
from model.gather import Gather
from model.interface import Batch, Method, Tensors
from model.trees import Tree

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A training of some parameters on some batches; a recipe is a list of stages.

    Args:
        prepare: sets which parameters train, and makes their optimizer.
        schedule: step of the stage -> learning rate.
        pictures: the path of each sample's picture, by its index.
        clip_grad: largest norm of the gradient, or None.
        selects: whether the best checkpoint may be one of this stage.
        normalises: whether batches go through the batch norms of the model, if it has any.
        division: divides the training set before each epoch, if there is one.
    """

    name: str
    criterion: Criterion
    loader: TrainLoader[Trainable]
    prepare: Callable[[], torch.optim.Optimizer]
    schedule: Callable[[int], float]
    epochs: int
    pictures: Sequence[str]
    clip_grad: float | None = None
    selects: bool = True
    normalises: bool = True
    division: Division | None = None

    @property
    def steps(self) -> int:
        """Optimizer steps of all epochs."""
        return self.epochs * len(self.loader)


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training that all its stages share.

    Args:
        seed: of the dropout masks.
        chunk: samples that a process encodes at once.
        use_gather: contrast with the features of all processes.
        print_period: steps between two readings of the losses; between them nothing waits for the
            device.
        save_period: steps between two checkpoints within an epoch, or 0.
        max_bad_steps: steps in a row without a finite loss and gradient that end the run.
        cuda_graphs: record the kernels of a step, where they can be recorded.
    """

    seed: int
    chunk: int
    use_gather: bool = True
    print_period: int = 50
    save_period: int = 0
    max_bad_steps: int = 10
    cuda_graphs: bool = False


class Trainer:
    """Takes the optimizer steps of a stage.

    Args:
        model: trained in place; among several processes it is wrapped in DDP, anew for each stage.
        settings: a batch larger than their `chunk` is encoded in parts (`_backward_in_chunks`).
        first_step: steps of the stages before.
    """

    def __init__(
        self,
        stage: Stage,
        model: Method,
        processes: Processes,
        precision: Precision,
        *,
        gather: Gather,
        settings: TrainingSettings,
        first_step: int = 0,
    ) -> None:
        self.stage, self.model, self.gather, self.precision = stage, model, gather, precision
        self.processes, self.settings, self.first_step = processes, settings, first_step
        self.optimizer = stage.prepare()
        self.scaler = precision.scaler()
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.statistics = running_statistics(model)
        self.parted = _Parted(model)
        self.wrapped = _distribute(self.parted, processes)
        self.graphs = self._graphs() if settings.cuda_graphs else None

    @property
    def trained_parameters(self) -> int:
        """Number of values that the optimizer changes."""
        return sum(parameter.numel() for parameter in self.trained)

    def restore(self, optimizer: Tree, scaler: Tree) -> None:
        """Load the states of a checkpoint; the settings stay this stage's own.

        Raises:
            InputError: if other parameters were trained.
        """
        own = [{k: v for k, v in g.items() if k != "params"} for g in self.optimizer.param_groups]
        try:
            self.optimizer.load_state_dict(optimizer)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError(
                f"the checkpoint trained other parameters ({error}): resume with the losses, "
                "model.freeze, stages, schedule.ratio_factor and schedule.layer_decay of its "
                "training"
            ) from None
        for group, settings in zip(self.optimizer.param_groups, own, strict=True):
            group.update(settings)
        if scaler:  # empty if it was not trained in fp16
            self.scaler.load_state_dict(scaler)

    def step(self, batch: Batch, step: int) -> tuple[Losses, float, Tensor]:
        """Take one step, number `step` of all stages, or skip it where it is not finite.

        Returns:
            The losses, detached and still on the device, the learning rate, and whether the step
            was bad, on the device, too.
        """
        lr = self.stage.schedule(step - self.first_step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["factor"]
        before = torch.cat(self.statistics) if self.statistics else None
        losses = self.backward(batch, step)
        self.scaler.unscale_(self.optimizer)
        gradients = [parameter.grad for parameter in self.trained if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if self.stage.clip_grad is not None:
            nn.utils.clip_grads_with_norm_(self.trained, self.stage.clip_grad, norm)
        is_skipped, is_bad = self._judge(losses["loss"], norm)
        # The fused optimizers of torch look at it on the device, as they do for its GradScaler.
        self.optimizer.found_inf = is_skipped.float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if before is not None:
            kept = torch.where(is_skipped, before, torch.cat(self.statistics))
            torch._foreach_copy_(self.statistics, kept.split([len(s) for s in self.statistics]))
        self.model.constrain()
        return losses, lr, is_bad

    def _judge(self, loss: Tensor, norm: Tensor) -> Tensor:
        """Whether a step is skipped, and whether it is bad: (2,), alike in all processes.

        The norm overflows before the squares in the optimizer do. A gradient that overflows because
        fp16's scale is too high is not bad: the scaler lowers the scale.
        """
        is_finite = loss.isfinite()
        is_skipped = ~(is_finite & norm.isfinite())
        is_unscaled = self.scaler.scale(torch.ones_like(norm)) <= 1
        is_bad = is_skipped & (is_unscaled | ~is_finite)
        return self.processes.mean(torch.stack([is_skipped, is_bad]).float()) > 0

    def backward(self, batch: Batch, step: int) -> Losses:
        """The losses of a batch, their gradients left in the parameters."""
        progress = (step - self.first_step) / len(self.stage.loader)
        chunks = batch.split(self.settings.chunk)
        if len(chunks) > 1:
            return self._backward_in_chunks(batch, chunks, step, progress)
        self._seed(step, 0, 1)
        if self.graphs is not None:
            return self.graphs(self._backward_whole, batch, progress)
        return self._backward_whole(batch, progress)

    def _graphs(self) -> step_graphs.StepGraphs | None:
        parts = self.stage.loader.sampler.parts(self.settings.chunk)
        fault = step_graphs.find_fault(self.model, self.processes, parts)
        if fault:
            log.warning("model.cuda_graphs: %s; the training goes on without them", fault)
            return None
        return step_graphs.StepGraphs(self.trained, self.processes.device)

    def _backward_whole(self, batch: Batch, progress: float | Tensor) -> Losses:
        outputs = self._encode(self.wrapped, batch)
        losses, total = self._losses(outputs, batch, progress)
        self.scaler.scale(total).backward()
        return _detach(losses, total)

    def _backward_in_chunks(
        self, batch: Batch, chunks: list[Batch], step: int, progress: float
    ) -> Losses:
        """The losses and gradients of the whole batch, in the memory of one chunk.

        Gradient caching (Gao et al. 2021, arXiv 2101.06983): the features of all chunks without a
        graph, the gradient of the loss with respect to them, then each chunk again with a graph,
        which that gradient goes back through. What depends on the whole batch is computed once,
        from the features of all chunks. The processes reduce once, in the last chunk.
        """
        parts = []
        for i, chunk in enumerate(chunks):
            self._seed(step, i, len(chunks))
            with torch.no_grad():
                parts.append(self._encode(self.parted, chunk, finishes=False))
        cached = type(parts[0]).join(parts).map(lambda tensor: tensor.detach().requires_grad_())
        with self.precision.autocast():
            outputs = self.model.finish(cached)
        losses, total = self._losses(outputs, batch, progress)
        self.scaler.scale(total).backward()
        gradients = cached.map(lambda tensor: _gradient(tensor)).split_like(parts)
        for i, gradient in enumerate(gradients):
            last = i == len(chunks) - 1
            self._seed(step, i, len(chunks))
            with nullcontext() if last else self._without_reduction():
                encoded = self._encode(self.wrapped, chunks[i], finishes=False).present()
                upstream = gradient.present()
                # A tensor that belongs to no row is in the outputs of every chunk: it counts once.
                counted = (name for name in encoded if last or name in gradient.dims)
                learned = [name for name in counted if encoded[name].requires_grad]
                roots = [encoded[name] for name in learned]
                flowing = [upstream[name] for name in learned]
                if last:  # DDP reduces the gradients of what the backward pass of a chunk reaches
                    finishing = self._finishing()
                    roots += finishing
                    flowing += map(torch.zeros_like, finishing)
                torch.autograd.backward(roots, flowing)
        return _detach(losses, total)

    def _seed(self, step: int, index: int, chunks: int) -> None:
        """Let a chunk's dropout masks be drawn from its number in the global batch."""
        number = self.processes.rank * chunks + index
        seed_torch(self.settings.seed, Purpose.STEP, step, number)

    def _encode(self, model: nn.Module, batch: Batch, finishes: bool = True) -> Tensors:
        with self.precision.autocast():
            outputs: Tensors = model(batch, finishes)
        return outputs

    def _finishing(self) -> list[Tensor]:
        """The parameters that no part passes through, where they train."""
        named = self.model.named_parameters()
        return [p for n, p in named if p.requires_grad and n.startswith(self.model.finishing)]

    def _losses(
        self, outputs: Tensors, batch: Batch, progress: float | Tensor
    ) -> tuple[Losses, Tensor]:
        criterion = self.stage.criterion
        losses = criterion(outputs, batch, self.gather, progress)
        return losses, criterion.total(losses, outputs)

    def _without_reduction(self) -> AbstractContextManager[None]:
        if isinstance(self.wrapped, DistributedDataParallel):
            return self.wrapped.no_sync()
        return nullcontext()


def _detach(losses: Losses, total: Tensor) -> Losses:
    return {"loss": total.detach()} | {name: loss.detach() for name, loss in losses.items()}


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def steps_until(stages: Sequence[Stage], epoch: int) -> int:
    """Steps of the first epochs of a training, `epoch` of them."""
    steps = 0
    for stage in stages:
        steps += min(epoch, stage.epochs) * len(stage.loader)
        epoch -= min(epoch, stage.epochs)
    return steps


def running_statistics(model: nn.Module) -> list[Tensor]:
    """The running means and variances of the batch norms, (C,) each."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    found = [tensor for norm in norms for tensor in (norm.running_mean, norm.running_var)]
    return [tensor for tensor in found if tensor is not None]


def check_chunk(stage: Stage, model: Method, chunk: int) -> None:
    """Check that a model encodes its batches whole if they go through batch norms before its
    features are made.

    Raises:
        InputError: a process has more than `chunk` samples in a step.
    """
    sampler = stage.loader.sampler
    has_norms = any(
        isinstance(module, BatchNorm) and not name.startswith(model.finishing)
        for name, module in model.named_modules()
    )
    if sampler.parts(chunk) > 1 and stage.normalises and has_norms:
        raise InputError(
            f"stage {stage.name} has {sampler.batch_size} samples for each process, in parts of "
            f"data.batch_size={chunk}, but the model has batch norms, whose statistics are of the "
            "whole: raise data.batch_size, or lower the global_batch_size of data or the stage"
        )


class _Parted(nn.Module):
    """A model whose outputs are finished, or those of a part of a batch."""

    def __init__(self, model: Method) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, finishes: bool) -> Tensors:
        outputs: Tensors = self.model(batch) if finishes else self.model.encode(batch)
        return outputs


def _distribute(model: _Parted, processes: Processes) -> nn.Module:
    if processes.world_size == 1:
        return model
    share_statistics(model, AllGather())  # also where each process contrasts its own features
    own = [processes.device] if processes.device.type == "cuda" else None
    return DistributedDataParallel(
        model, device_ids=own, broadcast_buffers=False, gradient_as_bucket_view=True
    )
