"""From the configuration to data, stages and evaluations."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from numpy.random import Generator
from PIL import Image
from torch import Tensor

from errors import InputError
from misc.collate import Collate, Mixing
from misc.data import (
    CaptionDataset,
    TextAugmentation,
    train_loader,
)
from misc.datasets.text_person import Told, join_training, read_text_person
from misc.distributed import Processes
from misc.optim import build_adamw, freeze, warmup_cosine
from misc.reranking import k_reciprocal
from misc.retrieval import Loading, Rerank, TextRetrieval
from misc.samplers import GlobalBatchSampler
from misc.trainer import Stage
from misc.transforms import (
    CentreCropTransform,
    EvaluationTransform,
    SimCLRTransform,
    Statistics,
    TrainTransform,
)
from model.criterion import Criterion
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


@dataclass(frozen=True)
class Data:
    """What a run trains and evaluates on."""

    name: str
    splits: dict[str, Told]
    test_sets: dict[str, Told]  # more of them, by name

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
    splits = {split: main.told(split) for split in main.splits}
    if any("train" in dataset.splits for dataset in (main, *more)):
        asked = languages or (None,)
        splits["train"] = {told or "": join_training([main, *more], told) for told in asked}
    test_sets = {}
    for source in data.test_sets:
        own = languages if source.languages is None else source.languages
        dataset = read_text_person(source.annotation_file, source.image_root, own)
        if "test" not in dataset.splits:
            raise InputError(f"data.test_sets: {source.annotation_file} has no test split")
        test_sets[source.name] = dataset.told("test")
    return Data(main.name, splits, test_sets)


def build_retrieval(config: Config, told: Told, tokenizer: Tokenizer) -> TextRetrieval:
    """Pictures and their captions, ready to be evaluated."""
    return TextRetrieval(
        told,
        _build_evaluation_transform(config),
        tokenizer,
        config.experiment.text_length,
        Loading(config.data.test_batch_size, config.data.num_workers, config.evaluation.chunk),
    )


def _build_evaluation_transform(config: Config) -> Callable[[Image.Image], Tensor]:
    size = config.data.image_size
    if config.experiment.use_altclip_processor:
        processor = _processor(config)
        return CentreCropTransform(size, processor.statistics, processor.resampling)
    return EvaluationTransform(size, config.data.normalize)


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


def build_stages(
    config: Config,
    data: Data,
    tokenizer: Tokenizer,
    model: TBPSCLIP,
    criterion: Criterion,
    processes: Processes,
) -> list[Stage]:
    """The stages of the training, in order.

    Raises:
        InputError: if there is nothing to train on, or less than a batch, or a stage freezes what
            the model does not have.
    """
    if "train" not in data.splits:
        raise InputError(f"data.annotation_file: {config.data.annotation_file} has no train split")
    experiment = config.experiment
    normalize = (
        _processor(config).statistics if experiment.use_altclip_processor else config.data.normalize
    )
    dataset = CaptionDataset(
        list(data.splits["train"].values()),
        TrainTransform(config.data.image_size, normalize, experiment.augment_image),
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
        experiment.text_length,
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
    batch_size = _batch_size(config, processes)
    if experiment.mixgen and batch_size % experiment.mixgen_rows:
        raise InputError(
            f"experiment.mixgen_rows={experiment.mixgen_rows} does not divide the {batch_size} "
            "captions that a process has in a step: give one that does"
        )
    sampler = GlobalBatchSampler(
        len(dataset),
        batch_size,
        processes.rank,
        processes.world_size,
        config.misc.seed,
    )
    on_gpu = processes.device.type == "cuda"
    loader = train_loader(dataset, collate, sampler, config.data.num_workers, pin_memory=on_gpu)
    stages = []
    for stage in config.stages:
        schedule = config.stage_schedule(stage)
        frozen = (*config.model.freeze, *stage.freeze)
        _freeze(model, frozen)  # each stage does so again; here a misspelt name is found in time
        stages.append(
            Stage(
                name=stage.name,
                criterion=criterion,
                loader=loader,
                prepare=partial(_prepare, frozen=frozen, schedule=schedule),
                schedule=partial(
                    warmup_cosine,
                    total=schedule.epoch * len(loader),
                    warmup=schedule.epoch_warmup * len(loader),
                    base=schedule.lr,
                    start=schedule.lr_start,
                    end=schedule.lr_end,
                ),
                epochs=schedule.epoch,
                clip_grad=schedule.clip_grad,
            )
        )
    return stages


def _prepare(model: TBPSCLIP, frozen: tuple[str, ...], schedule: Schedule) -> torch.optim.Optimizer:
    """Freeze what the stage freezes, and make its optimizer over the rest."""
    _freeze(model, frozen)
    return build_adamw(
        model,
        schedule.lr,
        schedule.betas,
        schedule.eps,
        schedule.weight_decay,
        fast=NEW_PARAMETERS,
        factor=schedule.ratio_factor,
        layer_decay=schedule.layer_decay,
    )


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


def _batch_size(config: Config, processes: Processes) -> int:
    """Captions of one step in this process."""
    whole, world_size = config.data.global_batch_size, processes.world_size
    if whole is None:
        return config.data.batch_size
    if whole % world_size:
        raise InputError(
            f"data.global_batch_size={whole} cannot be shared by {world_size} processes: give a "
            "multiple of their number"
        )
    return whole // world_size


def _freeze(model: TBPSCLIP, frozen: tuple[str, ...]) -> None:
    try:
        freeze(model.clip, frozen)
    except ValueError as error:
        raise InputError(f"model.freeze (or a stage's): {error}") from None
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError("model.freeze (or a stage's) freezes every parameter: leave one out")
