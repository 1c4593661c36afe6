"""Text-to-image retrieval: the data, model, stages and evaluations of a configuration."""

from functools import cached_property

from torch import nn

from errors import InputError
from misc.data.loader import TrainLoader
from misc.data.samplers import GlobalBatchSampler
from misc.data.text import CaptionDataset
from misc.data.text_collate import Collate
from misc.retrieval.text import TextRetrieval
from misc.runtime.checkpoint import Checkpoint
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.settings.sections import Config, StageSettings
from misc.tasks.base import Task
from misc.tasks.evaluation import build_loading
from misc.tasks.stages import StagePlan, share_batch
from misc.tasks.starting_weights import build_tokenizer, open_init_from
from misc.tasks.text.build import always_frozen, build_criterion, describe, without_masked_words
from misc.tasks.text.data import read_text_data
from misc.tasks.text.model import new_model, restored_model
from misc.tasks.text.transforms import (
    build_augmentation,
    build_evaluation_transform,
    build_mixing,
    build_simclr,
    build_text_augmentation,
)
from model.architecture import TextArchitecture
from model.tbps_clip import NEW_PARAMETERS, TBPSCLIP


class TextTask(Task[TBPSCLIP]):
    """Task text_to_image: the losses between pictures and captions, on a backbone that trains as a
    whole or in part.
    """

    metric = "R1"
    data_keys = "data.annotation_file, data.image_root, data.test_sets, data.languages"
    new_parameters = NEW_PARAMETERS

    def __init__(self, config: Config, processes: Processes, precision: Precision) -> None:
        config, self.warning = without_masked_words(config)
        super().__init__(config, processes, precision)
        self.data = read_text_data(config)
        self.name = self.data.name
        self.splits = list(self.data.splits)
        self.test_sets = list(self.data.test_sets)
        self.tokenizer = build_tokenizer(config)

    def build_model(self, checkpoint: Checkpoint | None, for_training: bool) -> TBPSCLIP:
        config, num_identities = self.config, self.data.num_identities
        if checkpoint is None:
            return new_model(config, open_init_from(config), num_identities=num_identities)
        return restored_model(
            config, checkpoint, num_identities=num_identities, with_heads=for_training
        )

    def describe(self, model: TBPSCLIP) -> TextArchitecture:
        return describe(self.config, model)

    def omitted_names(self, model: TBPSCLIP) -> tuple[str, ...]:
        return always_frozen(self.config, model) if self.config.tunes else ()

    def freezable(self, model: TBPSCLIP) -> nn.Module:
        return model.clip

    def frozen_names(self, model: TBPSCLIP, stage: StageSettings) -> tuple[str, ...]:
        return tuple(name.removeprefix("clip.") for name in always_frozen(self.config, model))

    def plan_stage(self, stage: StageSettings, model: TBPSCLIP) -> StagePlan:
        config, processes = self.config, self.processes
        experiment, seed = config.experiment, config.misc.seed
        dataset = self._training_set
        batch_size = share_batch(config, processes, stage.global_batch_size)
        if experiment.mixgen and batch_size % experiment.mixgen_rows:
            raise InputError(
                f"experiment.mixgen_rows={experiment.mixgen_rows} does not divide the {batch_size} "
                "captions that a process has in a step: give one that does"
            )
        collate = Collate(
            self.tokenizer,
            min(experiment.text_length, model.clip.text.room),
            mixing=build_mixing(config),
            masking=experiment.mlm,
            seed=seed,
        )
        sampler = GlobalBatchSampler(
            len(dataset),
            batch_size,
            rank=processes.rank,
            world_size=processes.world_size,
            seed=seed,
        )
        loader = TrainLoader(
            dataset,
            collate,
            sampler,
            num_workers=config.data.num_workers,
            pin_memory=processes.device.type == "cuda",
        )
        return StagePlan(criterion=build_criterion(config), loader=loader)

    @cached_property
    def _training_set(self) -> CaptionDataset:
        config, splits = self.config, self.data.splits
        if "train" not in splits:
            file = config.data.annotation_file
            raise InputError(f"data.annotation_file: {file} has no train split")
        return CaptionDataset(
            list(splits["train"].values()),
            build_augmentation(config),
            build_text_augmentation(config),
            views=2 if config.experiment.mvs_image and config.experiment.nitc else 1,
            simclr=build_simclr(config),
            seed=config.misc.seed,
        )

    def build_retrieval(self, split: str, test_set: str | None = None) -> TextRetrieval:
        data = self.data
        pictures = data.splits[split] if test_set is None else data.test_sets[test_set]
        return TextRetrieval(
            pictures,
            build_evaluation_transform(self.config),
            self.tokenizer,
            text_length=self.config.experiment.text_length,
            loading=build_loading(self.config),
            clean=self.config.experiment.clean_captions,
        )
