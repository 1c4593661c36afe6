"""A task: its data, model, stages and evaluations."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

import torch

from misc.retrieval.base import Retrieval
from misc.runtime.checkpoint import Checkpoint
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.settings.sections import Config, StageSettings
from misc.tasks.stages import StagePlan, build_curve, freeze_named, optimizer_of
from misc.training.trainer import Stage
from model.architecture import Architecture
from model.interface import Method

M = TypeVar("M", bound=Method)


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
    freezable: ClassVar[str] = ""  # the submodule whose parameters `model.freeze` names
    warning: str = ""
    name: str  # of the dataset
    splits: Sequence[str]  # of the dataset, that can be evaluated
    test_sets: Sequence[str]  # further ones

    def __init__(self, config: Config, processes: Processes, precision: Precision) -> None:
        self.config, self.processes, self.precision = config, processes, precision

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
        freeze_named(model, freezable, frozen)  # here, too, to find a misspelt name in time

        def prepare() -> torch.optim.Optimizer:
            plan.begin()
            freeze_named(model, freezable, frozen)
            return optimizer_of(model, schedule, self.new_parameters)

        return Stage(
            name=stage.name,
            criterion=plan.criterion,
            loader=plan.loader,
            prepare=prepare,
            schedule=build_curve(schedule, len(plan.loader)),
            epochs=schedule.epoch,
            clip_grad=schedule.clip_grad,
            selects=plan.selects,
            normalises=plan.normalises,
        )

    @abstractmethod
    def plan_stage(self, stage: StageSettings, model: M) -> StagePlan:
        """The batches and losses of one stage."""

    @abstractmethod
    def frozen_names(self, model: M, stage: StageSettings) -> tuple[str, ...]:
        """Names in the freezable part that a stage freezes by itself."""

    @abstractmethod
    def build_retrieval(self, split: str, test_set: str | None = None) -> Retrieval:
        """A split of the dataset, or of a further one, ready to be evaluated."""
