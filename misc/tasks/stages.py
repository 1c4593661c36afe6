"""Parts of a training stage, from its settings."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from errors import InputError
from misc.data.loader import TrainLoader
from misc.optim import (
    build_optimizer,
    freeze,
    warmup_cosine,
    warmup_multistep,
    warmup_then_cosine,
)
from misc.runtime.distributed import Processes
from misc.settings.sections import Config, ScheduleSettings
from model.criteria.base import Criterion
from model.interface import Batch


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """The parts of a stage that its task decides.

    Args:
        begin: called before the stage freezes parameters and makes its optimizer.
        selects: whether the best checkpoint may be one of this stage.
        normalises: whether batches go through the batch norms of the model, if it has any.
    """

    criterion: Criterion
    loader: TrainLoader[Batch]
    begin: Callable[[], None] = lambda: None
    selects: bool = True
    normalises: bool = True


def share_batch(config: Config, processes: Processes, stage_batch: int | None = None) -> int:
    """Samples of one step in this process.

    Args:
        stage_batch: samples of all processes, if a stage has its own number of them.

    Raises:
        InputError: the processes cannot share them equally.
    """
    global_batch, world_size = stage_batch or config.data.global_batch_size, processes.world_size
    if global_batch is None:
        return config.data.batch_size
    if global_batch % world_size:
        raise InputError(
            f"a batch of {global_batch} (global_batch_size of data or the stage) cannot be shared "
            f"by {world_size} processes: give a multiple of their number"
        )
    return global_batch // world_size


def build_curve(schedule: ScheduleSettings, num_steps: int) -> Callable[[int], float]:
    """The learning rate by the step of a stage.

    Args:
        num_steps: of an epoch.
    """
    peak, start, end = schedule.lr, schedule.lr_start, schedule.lr_end
    epochs, warmup = schedule.epoch, schedule.epoch_warmup
    factor, milestones, gamma = schedule.warmup_factor, schedule.milestones, schedule.gamma

    def cosine(step: int) -> float:
        return warmup_cosine(step, epochs * num_steps, warmup * num_steps, peak, start, end)

    def epoch_cosine(step: int) -> float:
        return warmup_then_cosine(1 + step // num_steps, epochs, warmup, peak, start, end)

    def epoch_steps(step: int) -> float:
        return warmup_multistep(1 + step // num_steps, peak, milestones, gamma, warmup, factor)

    curves = {"cosine": cosine, "epoch_cosine": epoch_cosine, "epoch_steps": epoch_steps}
    return curves[schedule.curve]


def optimizer_of(
    model: nn.Module, schedule: ScheduleSettings, new_parameters: tuple[str, ...]
) -> torch.optim.Optimizer:
    """The optimizer of what is not frozen.

    Args:
        new_parameters: beginnings of the names of those that train at a multiple of the rate.
    """
    return build_optimizer(
        model,
        schedule.optimizer,
        lr=schedule.lr,
        betas=schedule.betas,
        eps=schedule.eps,
        weight_decay=schedule.weight_decay,
        decayed=schedule.decayed,
        bias_factor=schedule.bias_factor,
        fast=new_parameters,
        factor=schedule.ratio_factor,
        layer_decay=schedule.layer_decay,
    )


def freeze_named(model: nn.Module, freezable: nn.Module, frozen: tuple[str, ...]) -> None:
    """Train all of `model` but the parameters of its part `freezable` whose names start so.

    Raises:
        InputError: there are none of that name, or none is left to train.
    """
    try:
        freeze(freezable, frozen)
    except ValueError as error:
        raise InputError(f"model.freeze (or a stage's): {error}") from None
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError("model.freeze (or a stage's) freezes every parameter: leave one out")
