"""People found by sentences: TBPS-CLIP's data, stages and evaluations from the configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from numpy.random import Generator
from PIL import Image
from torch import Tensor

from errors import InputError
from misc.checkpoint import BEST, LAST, Start, find_checkpoint, load_weights, read_checkpoint
from misc.collate import Collate, Mixing
from misc.data import CaptionDataset, TextAugmentation, train_loader
from misc.datasets.text_person import Told, join_training, read_text_person
from misc.distributed import Processes
from misc.precision import Precision
from misc.samplers import GlobalBatchSampler
from misc.task import (
    Task,
    build_curve,
    build_loading,
    freeze_named,
    prepare,
    share_batch,
)
from misc.text_retrieval import TextRetrieval
from misc.trainer import Stage
from misc.transforms import (
    CentreCropTransform,
    EvaluationTransform,
    SimCLRTransform,
    Statistics,
    TrainTransform,
)
from model.build import (
    Architecture,
    adapt_weights,
    build_criterion,
    build_model,
    build_tokenizer,
    describe_architecture,
    without_clip_vocabulary,
)
from model.published import Published, is_published, read_published
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
        config, identities = self.config, self.data.identities
        given = start
        if start is None and for_training and config.model.init_from:
            start = Start(find_checkpoint(Path(config.model.init_from), BEST, LAST), None)
        if start is None:
            return build_model(config, identities)
        state, architecture = self._read_weights(start, is_given=given is not None)
        if given is None:  # a new training: heads of its own, pictures of its own size
            state, architecture = adapt_weights(config, state, architecture, identities)
        model = build_model(config, identities, architecture, with_heads=for_training)
        if given is None or not for_training:
            parts = ((name.partition("."), tensor) for name, tensor in state.items())
            towers = {rest: tensor for (part, _, rest), tensor in parts if part == "clip"}
            load_weights(model.clip, towers, start.file)
        else:
            load_weights(model, state, start.file)
        model.constrain()  # the log scale of others may have drifted
        return model

    def _read_weights(self, start: Start, is_given: bool) -> tuple[dict[str, Tensor], Architecture]:
        """Weights in our names, and what they are of, from a checkpoint of ours or another's."""
        if start.content is None and is_published(start.file):
            published = self._read_published(start.file, is_given)
            return published.state, published.architecture
        checkpoint = start.content or read_checkpoint(start.file)
        if "text" not in checkpoint["architecture"] or not any(
            name.startswith("clip.") for name in checkpoint["model"]
        ):
            raise InputError(
                f"{start.file} is of task image_to_image, which reads no sentences: give a "
                "checkpoint of task text_to_image"
            )
        return checkpoint["model"], checkpoint["architecture"]

    def _read_published(self, file: Path, is_given: bool) -> Published:
        data, model = self.config.data, self.config.model
        scratch = model.clip_pretrained is None
        heads = (model.vision.heads, model.text.heads) if scratch else None
        try:
            return read_published(file, data.image_size, model.stride, heads)
        except InputError:
            if is_given:
                raise
            return read_published(file, None, model.stride, heads)  # of another size: a square


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
        build_loading(config),
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
    batch_size = share_batch(config, processes)
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
        if stage.skip:
            continue
        schedule = config.stage_schedule(stage)
        frozen = (*config.model.freeze, *stage.freeze)
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
