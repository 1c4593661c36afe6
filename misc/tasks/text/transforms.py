"""What is done to pictures and captions, from a configuration."""

from collections.abc import Callable
from functools import partial
from pkgutil import resolve_name

from numpy.random import Generator
from PIL import Image
from torch import Tensor

from misc.data.augmentations import TEXT_OPERATIONS, find_image_augmentation
from misc.data.text import TextAugmentation
from misc.data.text_collate import Mixing
from misc.data.transforms import (
    RESAMPLING,
    Augmentation,
    CentreCropTransform,
    EvaluationTransform,
    Normalize,
    SimCLRTransform,
    TrainTransform,
)
from misc.settings.sections import Config
from misc.tasks.starting_weights import kind_and_source
from model.backbone_loader import Preprocessing
from text_utils.synonyms import Synonyms


def build_evaluation_transform(config: Config) -> Callable[[Image.Image], Tensor]:
    """The preparation of pictures for an evaluation."""
    size = config.data.image_size
    if config.experiment.use_altclip_processor:
        processor = _processor(config)
        resampling = Image.Resampling(processor.resampling)
        return CentreCropTransform(size, (processor.mean, processor.std), resampling)
    return EvaluationTransform(size, config.data.normalize, RESAMPLING[config.data.test_resampling])


def build_augmentation(config: Config) -> Augmentation:
    """The augmentation of the pictures that are trained on."""
    size, normalize = config.data.image_size, _normalize(config)
    if not config.experiment.augment_image:
        return TrainTransform(size, normalize, augment=False)
    return find_image_augmentation(config.experiment.image_augment)(size, normalize)


def build_simclr(config: Config) -> SimCLRTransform | None:
    """The augmentation of the two further views of the contrast `ss`, if it is on."""
    if not config.experiment.ss:
        return None
    return SimCLRTransform(config.data.image_size, _normalize(config))


def build_text_augmentation(config: Config) -> TextAugmentation:
    """The augmentation of the captions that are trained on."""
    experiment = config.experiment
    return TextAugmentation(
        backtranslation=experiment.backtrans_p if experiment.back_trans else 0.0,
        change=_text_operation(experiment.text_augment),
        strength=experiment.eda_alpha,
        clean=experiment.clean_captions,
    )


def build_mixing(config: Config) -> Mixing | None:
    """MixGen, if it is on."""
    experiment = config.experiment
    if not experiment.mixgen:
        return None
    return Mixing(
        kind=experiment.mixgen_type,
        p=experiment.mixgen_p,
        ratio=experiment.mixgen_ratio,
        rows=experiment.mixgen_rows,
    )


def _processor(config: Config) -> Preprocessing:
    kind, source = kind_and_source(config)
    return kind.loader().read_preprocessing(str(source), config.model.tokenizer_cache_dir)


def _normalize(config: Config) -> Normalize:
    if config.experiment.use_altclip_processor:
        processor = _processor(config)
        return processor.mean, processor.std
    return config.data.normalize


def _text_operation(name: str) -> Callable[[str, float, Generator], str]:
    operation = TEXT_OPERATIONS[name]
    function = resolve_name(operation.function)
    return partial(function, synonyms=Synonyms()) if operation.takes_synonyms else function
