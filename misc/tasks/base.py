"""What a run learns and what it is measured by: its data, model, stages and evaluations."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch

from errors import InputError
from misc.optim import (
    build_optimizer,
    freeze,
    warmup_cosine,
    warmup_multistep,
    warmup_then_cosine,
)
from misc.reranking import k_reciprocal
from misc.retrieval.base import Loading, Rerank, Retrieval
from misc.runtime.checkpoint import Start
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.tasks.text.build import Architecture
from misc.training.trainer import Stage
from model.interface import Method
from options import Config, Schedule


class Task(ABC):
    """One of the kinds of retrieval, as far as the job has to know it.

    `config` is the configuration, without what does not go with the backbone, which `told` says.

    Raises:
        InputError: if something that the configuration names is not there or does not fit.
    """

    metric: ClassVar[str]  # which chooses the best checkpoint
    where: ClassVar[str]  # the keys that say where the data are
    told: str = ""
    name: str  # of the dataset
    splits: Sequence[str]  # of the dataset, that can be evaluated
    test_sets: Sequence[str]  # more of them

    def __init__(self, config: Config) -> None:
        self.config = config

    @abstractmethod
    def build_model(self, start: Start | None, for_training: bool) -> Method:
        """The model, with the weights of `start`, or of what a training begins from.

        Args:
            for_training: whether the heads are needed, that only the losses read.
        """

    @abstractmethod
    def describe(self, model: Any) -> Architecture:
        """What a checkpoint says of the model, in plain types."""

    def left_out(self, model: Any) -> tuple[str, ...]:
        """Names of the weights that a checkpoint leaves out, since the training begins with them
        and does not change them.
        """
        return ()

    @abstractmethod
    def build_stages(self, model: Any, processes: Processes, precision: Precision) -> list[Stage]:
        """The stages of the training, in order."""

    @abstractmethod
    def build_retrieval(self, split: str, test_set: str | None = None) -> Retrieval:
        """A split of the dataset, or of one of the further ones, ready to be evaluated."""


def build_loading(config: Config) -> Loading:
    """How a split is read and encoded."""
    return Loading(
        batch_size=config.data.test_batch_size,
        num_workers=config.data.num_workers,
        chunk=config.evaluation.chunk,
    )


def build_rerank(config: Config) -> Rerank | None:
    """What re-ranks for the closing tables, if the configuration asks for it."""
    rerank = config.evaluation.rerank
    if rerank is None:
        return None
    return partial(
        k_reciprocal,
        k1=rerank.k1,
        k2=rerank.k2,
        weight=rerank.weight,
        chunk=config.evaluation.chunk,
    )


def share_batch(config: Config, processes: Processes, whole: int | None = None) -> int:
    """Samples of one step in this process.

    Args:
        whole: those of all processes, if a stage has its own number of them.
    """
    whole, world_size = whole or config.data.global_batch_size, processes.world_size
    if whole is None:
        return config.data.batch_size
    if whole % world_size:
        raise InputError(
            f"a batch of {whole} (global_batch_size of data or the stage) cannot be shared by "
            f"{world_size} processes: give a multiple of their number"
        )
    return whole // world_size


def build_curve(schedule: Schedule, steps: int) -> Callable[[int], float]:
    """The learning rate by the step of a stage.

    Args:
        steps: of an epoch.
    """
    peak, start, end = schedule.lr, schedule.lr_start, schedule.lr_end
    epochs, warmup = schedule.epoch, schedule.epoch_warmup
    factor, milestones, gamma = schedule.warmup_factor, schedule.milestones, schedule.gamma

    def cosine(step: int) -> float:
        return warmup_cosine(step, epochs * steps, warmup * steps, peak, start, end)

    def epoch_cosine(step: int) -> float:
        return warmup_then_cosine(1 + step // steps, epochs, warmup, peak, start, end)

    def epoch_steps(step: int) -> float:
        return warmup_multistep(1 + step // steps, peak, milestones, gamma, warmup, factor)

    curves = {"cosine": cosine, "epoch_cosine": epoch_cosine, "epoch_steps": epoch_steps}
    return curves[schedule.curve]


def prepare(
    model: torch.nn.Module, schedule: Schedule, fast: tuple[str, ...]
) -> torch.optim.Optimizer:
    """The optimizer of what is not frozen.

    Args:
        fast: beginnings of the names of the parameters that train at a multiple of the rate.
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
        fast=fast,
        factor=schedule.ratio_factor,
        layer_decay=schedule.layer_decay,
    )


def freeze_named(model: torch.nn.Module, named: torch.nn.Module, frozen: tuple[str, ...]) -> None:
    """Train all of `model` but the parameters of its part `named` whose names start so.

    Raises:
        InputError: if there are none of that name, or none is left to train.
    """
    try:
        freeze(named, frozen)
    except ValueError as error:
        raise InputError(f"model.freeze (or a stage's): {error}") from None
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError("model.freeze (or a stage's) freezes every parameter: leave one out")
