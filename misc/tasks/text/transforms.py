"""Transforms and augmentations of pictures and captions, from a configuration."""

from collections.abc import Callable
from functools import partial

from numpy.random import Generator
from PIL import Image
from torch import Tensor

from misc.data.text import TextAugmentation
from misc.data.text_collate import Mixing
from misc.data.transforms import (
    RESAMPLING,
    STATISTICS,
    Augmentation,
    CentreCropTransform,
    EvaluationTransform,
    Normalize,
    ReIDTransform,
    SimCLRTransform,
    TrainTransform,
)
from misc.settings.sections import Config
from misc.tasks.starting_weights import kind_and_source
from model.backbone_loader import Preprocessing
from text_utils.augment import (
    random_deletion,
    random_insertion,
    random_swap,
    synonym_replacement,
)
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
    return AUGMENTATIONS[config.experiment.image_augment](size, normalize)


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
        change=TEXT_CHANGES[experiment.text_augment](),
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


def _erase(size: tuple[int, int], normalize: Normalize) -> Augmentation:
    mean = STATISTICS["clip"][0]  # of the pixels; the rectangle is erased after the normalisation
    return ReIDTransform(size, normalize, Image.Resampling.BILINEAR, erased=(0.02, 0.4), fill=mean)


# By `experiment.image_augment`.
AUGMENTATIONS: dict[str, Callable[[tuple[int, int], Normalize], Augmentation]] = {
    "pool": TrainTransform,
    "erase": _erase,
}
# By `experiment.text_augment`; the last two need WordNet.
TEXT_CHANGES: dict[str, Callable[[], Callable[[str, float, Generator], str]]] = {
    "deletion": lambda: random_deletion,
    "swap": lambda: random_swap,
    "insertion": lambda: partial(random_insertion, synonyms=Synonyms()),
    "replacement": lambda: partial(synonym_replacement, synonyms=Synonyms()),
}
