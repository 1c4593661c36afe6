"""People found by sentences: TBPS-CLIP's data, stages and evaluations from the configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from numpy.random import Generator
from PIL import Image
from torch import Tensor

from errors import InputError
from misc.data.loader import train_loader
from misc.data.samplers import GlobalBatchSampler
from misc.data.text import CaptionDataset, TextAugmentation
from misc.data.text_collate import Collate, Mixing
from misc.data.transforms import (
    RESAMPLING,
    STATISTICS,
    Augmentation,
    CentreCropTransform,
    EvaluationTransform,
    Normalize,
    ReIDTransform,
    SimCLRTransform,
    Statistics,
    TrainTransform,
)
from misc.datasets.text_person import PicturesByLanguage, join_training, read_text_person
from misc.retrieval.text import TextRetrieval
from misc.runtime.checkpoint import Start
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.tasks.base import (
    Task,
    build_curve,
    build_loading,
    freeze_named,
    prepare,
    share_batch,
)
from misc.tasks.text.build import (
    Architecture,
    build_criterion,
    build_tokenizer,
    describe_architecture,
    kept_frozen,
    without_clip_vocabulary,
)
from misc.tasks.text.model import new_model, restored_model
from misc.training.trainer import Stage
from model.tbps_clip import NEW_PARAMETERS, TBPSCLIP
from options import Config, Schedule
from text_utils.augment import (
    random_deletion,
    random_insertion,
    random_swap,
    synonym_replacement,
)
from text_utils.synonyms import Synonyms
from text_utils.tokenizer import Tokenizer


class TextTask(Task):
    """Task text_to_image: the losses between pictures and captions, on a backbone that trains as a
    whole or in part.
    """

    metric = "R1"
    where = "data.annotation_file, data.image_root, data.test_sets, data.languages"

    def __init__(self, config: Config) -> None:
        config, self.told = without_clip_vocabulary(config)
        super().__init__(config)
        self.data = build_data(config)
        self.name = self.data.name
        self.splits = list(self.data.splits)
        self.test_sets = list(self.data.test_sets)
        self.tokenizer = build_tokenizer(config)

    def describe(self, model: TBPSCLIP) -> Architecture:
        return describe_architecture(model)

    def build_stages(
        self, model: TBPSCLIP, processes: Processes, precision: Precision
    ) -> list[Stage]:
        return build_stages(self.config, self.data, self.tokenizer, model, processes)

    def build_retrieval(self, split: str, test_set: str | None = None) -> TextRetrieval:
        told = self.data.splits[split] if test_set is None else self.data.test_sets[test_set]
        return build_retrieval(self.config, told, self.tokenizer)

    def build_model(self, start: Start | None, for_training: bool) -> TBPSCLIP:
        if start is None:
            return new_model(self.config, self.data.identities)
        return restored_model(self.config, start, self.data.identities, for_training)

    def left_out(self, model: TBPSCLIP) -> tuple[str, ...]:
        return kept_frozen(self.config, model) if self.config.tunes else ()


@dataclass(frozen=True)
class Data:
    """What a run trains and evaluates on."""

    name: str
    splits: dict[str, PicturesByLanguage]
    test_sets: dict[str, PicturesByLanguage]  # more of them, by name

    @property
    def identities(self) -> int:
        """People in the training set."""
        told = self.splits.get("train", {})
        return len({picture.identity for pictures in told.values() for picture in pictures})


def build_data(config: Config) -> Data:
    """Read the datasets that the configuration names.

    Raises:
        InputError: if a path is not set, missing or not what it should be.
    """
    data = config.data
    if data.annotation_file is None or data.image_root is None:
        key = "annotation_file" if data.annotation_file is None else "image_root"
        raise InputError(
            f"data.{key} is not set: give data.annotation_file=FILE data.image_root=FOLDER, or try "
            "--config config/demo.yaml after `make demo`"
        )
    languages = data.languages
    main = read_text_person(data.annotation_file, data.image_root, languages)
    more = [read_text_person(s.annotation_file, s.image_root, languages) for s in data.train_sets]
    splits = {split: main.pictures_by_language(split) for split in main.splits}
    if any("train" in dataset.splits for dataset in (main, *more)):
        asked = languages or (None,)
        splits["train"] = {told or "": join_training([main, *more], told) for told in asked}
    test_sets = {}
    for source in data.test_sets:
        own = languages if source.languages is None else source.languages
        dataset = read_text_person(source.annotation_file, source.image_root, own)
        if "test" not in dataset.splits:
            raise InputError(f"data.test_sets: {source.annotation_file} has no test split")
        test_sets[source.name] = dataset.pictures_by_language("test")
    return Data(main.name, splits, test_sets)


def build_retrieval(
    config: Config, told: PicturesByLanguage, tokenizer: Tokenizer
) -> TextRetrieval:
    """Pictures and their captions, ready to be evaluated."""
    return TextRetrieval(
        told,
        _build_evaluation_transform(config),
        tokenizer,
        config.experiment.text_length,
        build_loading(config),
    )


def _build_evaluation_transform(config: Config) -> Callable[[Image.Image], Tensor]:
    size = config.data.image_size
    if config.experiment.use_altclip_processor:
        processor = _processor(config)
        return CentreCropTransform(size, processor.statistics, processor.resampling)
    return EvaluationTransform(size, config.data.normalize, RESAMPLING[config.data.test_resampling])


@dataclass(frozen=True)
class Processor:
    """What AltCLIP's processor says of pictures, but for their size."""

    statistics: Statistics
    resampling: Image.Resampling


def _processor(config: Config) -> Processor:
    return _read_processor(str(config.model.altclip_pretrained), config.model.tokenizer_cache_dir)


@cache
def _read_processor(source: str, cache_dir: str | None) -> Processor:
    # Here, because transformers takes seconds to import.
    from model.altclip_adapter import load_image_processor

    settings = load_image_processor(source, cache_dir)
    return Processor((settings.image_mean, settings.image_std), Image.Resampling(settings.resample))


def build_stages(
    config: Config, data: Data, tokenizer: Tokenizer, model: TBPSCLIP, processes: Processes
) -> list[Stage]:
    """The stages of the training, in order.

    Raises:
        InputError: if there is nothing to train on, or less than a batch, or a stage freezes what
            the model does not have.
    """
    criterion = build_criterion(config)
    if "train" not in data.splits:
        raise InputError(f"data.annotation_file: {config.data.annotation_file} has no train split")
    experiment = config.experiment
    normalize = (
        _processor(config).statistics if experiment.use_altclip_processor else config.data.normalize
    )
    dataset = CaptionDataset(
        list(data.splits["train"].values()),
        _build_augmentation(config, normalize),
        TextAugmentation(
            backtranslation=experiment.backtrans_p if experiment.back_trans else 0.0,
            change=_build_text_change(experiment.text_augment),
            strength=experiment.eda_alpha,
        ),
        views=2 if experiment.mvs_image and experiment.nitc else 1,
        simclr=SimCLRTransform(config.data.image_size, normalize) if experiment.ss else None,
        seed=config.misc.seed,
    )
    collate = Collate(
        tokenizer,
        min(experiment.text_length, model.clip.text.room),
        mixing=Mixing(
            experiment.mixgen_type,
            experiment.mixgen_p,
            experiment.mixgen_ratio,
            experiment.mixgen_rows,
        )
        if experiment.mixgen
        else None,
        masking=experiment.mlm,
        seed=config.misc.seed,
    )
    on_gpu = processes.device.type == "cuda"
    stages = []
    for stage in config.stages:
        if stage.skip:
            continue
        batch_size = share_batch(config, processes, stage.global_batch_size)
        if experiment.mixgen and batch_size % experiment.mixgen_rows:
            raise InputError(
                f"experiment.mixgen_rows={experiment.mixgen_rows} does not divide the {batch_size} "
                "captions that a process has in a step: give one that does"
            )
        sampler = GlobalBatchSampler(
            len(dataset), batch_size, processes.rank, processes.world_size, config.misc.seed
        )
        loader = train_loader(dataset, collate, sampler, config.data.num_workers, on_gpu)
        schedule = config.stage_schedule(stage)
        added = (name.removeprefix("clip.") for name in kept_frozen(config, model))
        frozen = (*added, *config.model.freeze, *stage.freeze)
        freeze_named(model, model.clip, frozen)  # here, too, to find a misspelt name in time
        stages.append(
            Stage(
                name=stage.name,
                criterion=criterion,
                loader=loader,
                prepare=partial(_prepare, frozen=frozen, schedule=schedule),
                schedule=build_curve(schedule, len(loader)),
                epochs=schedule.epoch,
                clip_grad=schedule.clip_grad,
            )
        )
    return stages


def _prepare(model: TBPSCLIP, frozen: tuple[str, ...], schedule: Schedule) -> torch.optim.Optimizer:
    """Freeze what the stage freezes, and make its optimizer over the rest."""
    freeze_named(model, model.clip, frozen)
    return prepare(model, schedule, NEW_PARAMETERS)


def _build_augmentation(config: Config, normalize: Normalize) -> Augmentation:
    """What is done to the pictures in training."""
    size, experiment = config.data.image_size, config.experiment
    if experiment.image_augment == "pool" or not experiment.augment_image:
        return TrainTransform(size, normalize, experiment.augment_image)
    mean = STATISTICS["clip"][0]  # of the pixels; the rectangle is erased after the normalisation
    return ReIDTransform(size, normalize, Image.Resampling.BILINEAR, (0.02, 0.4), mean)


def _build_text_change(name: str) -> Callable[[str, float, Generator], str]:
    """What is done to the words of a caption in training; two of these need WordNet."""
    match name:
        case "deletion":
            return random_deletion
        case "swap":
            return random_swap
        case "insertion":
            return partial(random_insertion, synonyms=Synonyms())
    return partial(synonym_replacement, synonyms=Synonyms())
