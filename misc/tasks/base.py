"""A task: its data, model, stages and evaluations."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import nn

from errors import InputError
from misc.data.loader import Trainable, TrainLoader
from misc.datasets.lazy import Mapped
from misc.optim import (
    build_optimizer,
    freeze,
    warmup_cosine,
    warmup_cosine_by_epoch,
    warmup_multistep,
    warmup_then_cosine,
)
from misc.reranking import k_reciprocal
from misc.retrieval.base import Loading, Rerank, Retrieval
from misc.retrieval.features import Features
from misc.runtime.checkpoint import Checkpoint
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.settings.sections import Config, ScheduleSettings, StageSettings
from misc.tasks.starting_weights import compare_statistics
from misc.training.division import Division
from misc.training.engine import Selection
from misc.training.trainer import Stage, TrainingSettings
from model.architecture import Architecture
from model.criteria.base import Criterion
from model.interface import Method

M = TypeVar("M", bound=Method)
Labelled = tuple[str, tuple[object, ...]]  # the path of a picture, and its labels


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """The parts of a stage that its task decides.

    Args:
        begin: called before the stage freezes parameters and makes its optimizer.
        selects: whether the best checkpoint may be one of this stage.
        normalises: whether batches go through the batch norms of the model, if it has any.
        division: divides the training set before each epoch, if there is one.
        samples: that the loader's indices count; None: the whole training set.
    """

    criterion: Criterion
    loader: TrainLoader[Trainable]
    begin: Callable[[], None] = lambda: None
    selects: bool = True
    normalises: bool = True
    division: Division | None = None
    samples: Sequence["TrainingSample"] | None = None


class TrainingSample(NamedTuple):
    """The path of a picture to train on, and its labels: identity, captions, camera, ..."""

    path: str
    labels: tuple[object, ...]


class Task(ABC, Generic[M]):
    """One kind of retrieval, as far as a job has to know it.

    Args:
        config: of this task; `config` of the object lacks what does not go with the backbone, and
            `warning` says so.

    Raises:
        InputError: something that the configuration names is not there or does not fit.
    """

    metric: ClassVar[str]  # which chooses the best checkpoint
    data_keys: ClassVar[str]  # the keys that name the datasets
    new_parameters: ClassVar[tuple[str, ...]]  # that are not pretrained: beginnings of their names
    new_weights: ClassVar[tuple[str, ...]] = ()  # likewise, with biases as of pretrained modules
    freezable: ClassVar[str] = ""  # the submodule whose parameters `model.freeze` names
    warning: str = ""
    name: str  # of the dataset
    splits: Sequence[str]  # of the dataset, that can be evaluated
    test_sets: Sequence[str]  # further ones

    def __init__(self, config: Config, processes: Processes, precision: Precision) -> None:
        self.config, self.processes, self.precision = config, processes, precision

    def warnings(self, begins: bool) -> Iterator[str]:
        """Sentences about settings that do not go with the backbone, or with its weights.

        Args:
            begins: whether a training begins, with pretrained weights; a run that is resumed or
                evaluated keeps its own settings.
        """
        if self.warning:
            yield self.warning
        if begins and (sentence := compare_statistics(self.config)):
            yield sentence

    @classmethod
    def check(cls, config: Config) -> None:
        """Check what only a training needs, before anything is read.

        Raises:
            InputError: a loss is not registered.
        """

    @abstractmethod
    def build_model(self, checkpoint: Checkpoint | None, for_training: bool) -> M:
        """The model with the weights of a checkpoint, or a new one to train.

        Args:
            for_training: whether the heads are needed that only the losses read.
        """

    @abstractmethod
    def describe(self, model: M) -> Architecture:
        """The architecture of the model, as checkpoints hold it."""

    def omitted_names(self, model: M) -> tuple[str, ...]:
        """Names of the weights that checkpoints leave out, since training does not change them."""
        return ()

    def build_stages(self, model: M) -> list[Stage]:
        """The stages of the training that are not skipped, in order.

        Raises:
            InputError: there is nothing to train on, or less than a batch, or a stage freezes what
                the model does not have.
        """
        return [self._build_stage(s, model) for s in self.config.stages if not s.skip]

    def _build_stage(self, stage: StageSettings, model: M) -> Stage:
        plan, schedule = self.plan_stage(stage, model), self.config.stage_schedule(stage)
        own, freezable = self.frozen_names(model, stage), model.get_submodule(self.freezable)
        frozen = (*own, *self.config.model.freeze, *stage.freeze)
        samples = self.training_samples() if plan.samples is None else plan.samples
        freeze_named(model, freezable, frozen)  # here, too, to find a misspelt name in time

        def prepare() -> torch.optim.Optimizer:
            plan.begin()
            freeze_named(model, freezable, frozen)
            return optimizer_of(model, schedule, self.new_parameters, self.new_weights)

        return Stage(
            name=stage.name,
            criterion=plan.criterion,
            loader=plan.loader,
            prepare=prepare,
            schedule=build_curve(schedule, len(plan.loader)),
            epochs=schedule.epoch,
            pictures=Mapped(len(samples), lambda index: samples[index].path),
            clip_grad=schedule.clip_grad,
            selects=plan.selects,
            normalises=plan.normalises,
            division=plan.division,
        )

    @abstractmethod
    def plan_stage(self, stage: StageSettings, model: M) -> StagePlan:
        """The batches and losses of one stage."""

    @abstractmethod
    def training_samples(self) -> Sequence[TrainingSample]:
        """The training set, by the index of a sample.

        Raises:
            InputError: there is none.
        """

    def hashed_samples(self) -> Iterable[TrainingSample]:
        """The training set as a resumption compares it: samples that are too many to be looked at
        one by one are a single one, with the hash of their file for a label.
        """
        return self.training_samples()

    @abstractmethod
    def evaluated_samples(self, split: str) -> Iterable[Labelled]:
        """The paths and labels of a split, as a resumption compares them."""

    @abstractmethod
    def frozen_names(self, model: M, stage: StageSettings) -> tuple[str, ...]:
        """Names in the freezable part that a stage freezes by itself."""

    @abstractmethod
    def build_retrieval(self, split: str, test_set: str | None = None) -> Retrieval:
        """A split of the dataset, or of a further one, ready to be evaluated."""

    def calibration_features(self, model: M, split: str) -> Features:
        """The features of a split, as an index has them, that a model is calibrated on."""
        retrieval = self.build_retrieval(split)
        encoded = retrieval.encode(model, self.processes, self.precision)
        return retrieval.features(encoded, model)

    def build_selection(self, split: str) -> Selection:
        """The evaluation of a split by which the best checkpoint is chosen."""
        retrieval = self.build_retrieval(split)
        return Selection(
            split,
            lambda model: retrieval.evaluate(model, self.processes, self.precision),
            self.metric,
            self.config.evaluation.period,
        )

    @property
    def loading(self) -> Loading:
        """The settings by which the items of a split are loaded and encoded."""
        config = self.config
        return Loading(
            batch_size=config.data.test_batch_size,
            num_workers=config.data.num_workers,
            chunk=config.evaluation.chunk,
        )

    @property
    def rerank(self) -> Rerank | None:
        """The re-ranking of the closing tables, if the configuration asks for it."""
        rerank = self.config.evaluation.rerank
        if rerank is None:
            return None
        chunk = self.config.evaluation.chunk
        return partial(k_reciprocal, k1=rerank.k1, k2=rerank.k2, weight=rerank.weight, chunk=chunk)


def training_settings(config: Config) -> TrainingSettings:
    """The settings of a training that its stages share."""
    return TrainingSettings(
        seed=config.misc.seed,
        chunk=config.data.batch_size,
        use_gather=config.model.use_gather,
        print_period=config.log.print_period,
        save_period=config.log.save_period,
        max_bad_steps=config.log.max_bad_steps,
        cuda_graphs=config.model.cuda_graphs,
    )


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

    def irra_cosine(step: int) -> float:
        return warmup_cosine_by_epoch(step // num_steps, epochs, warmup, peak, start, end)

    curves = {
        "cosine": cosine,
        "irra_cosine": irra_cosine,
        "epoch_cosine": epoch_cosine,
        "epoch_steps": epoch_steps,
    }
    return curves[schedule.curve]


def optimizer_of(
    model: nn.Module,
    schedule: ScheduleSettings,
    new_parameters: tuple[str, ...],
    new_weights: tuple[str, ...] = (),
) -> torch.optim.Optimizer:
    """The optimizer of what is not frozen.

    Args:
        new_parameters, new_weights: `fast` and `fast_weights` of `build_optimizer`.
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
        fast_weights=new_weights,
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
