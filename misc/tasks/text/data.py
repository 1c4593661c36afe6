"""The datasets of a text-to-image task, with their transforms and augmentations."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pkgutil import resolve_name

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from errors import InputError
from misc.data.augmentations import TEXT_OPERATIONS, find_image_augmentation
from misc.data.noise import draw_mismatches, read_mismatches
from misc.data.text import MOST_COUNTED, CaptionDataset, TextAugmentation, TokenDataset
from misc.data.text_collate import Mixing, TextCollate
from misc.data.transforms import (
    RESAMPLING,
    Augmentation,
    CentreCropTransform,
    EvaluationTransform,
    Normalize,
    SimCLRTransform,
    TrainTransform,
    ViewTransform,
    statistics,
)
from misc.datasets.pictures import ReadNumbered
from misc.datasets.text_person import PicturesByLanguage, join_training, read_text_person
from misc.settings.sections import Config
from model.backbone_loader import Preprocessing
from text_utils.captions import MOST_WORDS, clean_caption
from text_utils.synonyms import Synonyms
from text_utils.tokenizer import Tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextData:
    """Pictures by the language of their captions, of each split and of each further test set.

    Args:
        has_identities: whether the identities of all training pictures were annotated.
    """

    name: str
    splits: dict[str, PicturesByLanguage]
    test_sets: dict[str, PicturesByLanguage]
    has_identities: bool = True

    @property
    def num_identities(self) -> int:
        """People in the training set; 0 if some images have no annotated identity."""
        if not self.has_identities:
            return 0
        pictures = self.splits.get("train", {}).values()
        return len({picture.identity for one in pictures for picture in one})


def read_text_data(config: Config) -> TextData:
    """Read the datasets that the configuration names.

    Raises:
        InputError: a path is not set, missing or not what it should be.
    """
    data = config.data
    if data.annotation_file is None or data.image_root is None:
        key = "annotation_file" if data.annotation_file is None else "image_root"
        raise InputError(
            f"data.{key} is not set: give data.annotation_file=FILE data.image_root=FOLDER, or try "
            "--config config/demo.yaml after `make demo`"
        )
    languages = data.languages
    read = partial(read_text_person, allow_outside=data.allow_outside)
    main = read(data.annotation_file, data.image_root, languages)
    more = [read(s.annotation_file, s.image_root, languages) for s in data.train_sets]
    splits = {split: main.pictures_by_language(split) for split in main.splits}
    if any("train" in dataset.splits for dataset in (main, *more)):
        splits["train"] = {
            language or "": join_training([main, *more], language)
            for language in languages or (None,)
        }
    test_sets: dict[str, PicturesByLanguage] = {}
    for source in data.test_sets:
        own = languages if source.languages is None else source.languages
        dataset = read(source.annotation_file, source.image_root, own)
        if "test" not in dataset.splits:
            raise InputError(f"data.test_sets: {source.annotation_file} has no test split")
        if source.name in {main.name, *test_sets}:
            raise InputError(
                f"data.test_sets: two datasets are named {source.name}: give one another name, so "
                "that each has its results"
            )
        test_sets[source.name] = dataset.pictures_by_language("test")
    training = [dataset for dataset in (main, *more) if "train" in dataset.splits]
    has_identities = all(dataset.has_identities for dataset in training)
    return TextData(main.name, splits, test_sets, has_identities)


def training_split(config: Config, data: TextData) -> PicturesByLanguage:
    """The pictures to train on.

    Raises:
        InputError: there is no train split.
    """
    if "train" not in data.splits:
        file = config.data.annotation_file
        raise InputError(f"data.annotation_file: {file} has no train split")
    return data.splits["train"]


def build_training_set(config: Config, data: TextData, read: ReadNumbered) -> CaptionDataset:
    """The captions to train on, with the augmentations of the configuration.

    Args:
        read: gives a picture by its number and file.

    Raises:
        InputError: there is no train split.
    """
    experiment = config.experiment
    augmentation, on_device = _build_augmentation(config), _on_device(config)
    if on_device and not isinstance(augmentation, ViewTransform):
        log.warning(
            "data.augment_on=device lacks experiment.image_augment=%s: the CPU augments",
            experiment.image_augment,
        )
    simclr = SimCLRTransform(config.data.image_size, _normalize(config))
    return CaptionDataset(
        list(training_split(config, data).values()),
        augmentation,
        TextAugmentation(
            backtranslation=experiment.backtrans_p if experiment.back_trans else 0.0,
            change=_text_operation(experiment.text_augment),
            strength=experiment.eda_alpha,
            clean=experiment.clean_captions,
            max_words=max(MOST_WORDS, experiment.text_length),
        ),
        views=2 if experiment.mvs_image and experiment.nitc else 1,
        simclr=simclr if experiment.ss else None,
        seed=config.misc.seed,
        read=read,
        draws_alone=on_device,
        mismatches=_mismatches(config),
    )


def _on_device(config: Config) -> bool:
    """Whether the device may augment: in task both, the CPU augments the pictures of both tasks."""
    return config.data.augment_on == "device" and config.task == "text_to_image"


def _mismatches(config: Config) -> Callable[[int], NDArray[np.int64]] | None:
    """The noise that the configuration injects into so many pairs, if any."""
    noise = config.data.noise
    if noise.file is not None:
        return partial(read_mismatches, noise.file)
    if noise.rate:
        return partial(draw_mismatches, rate=noise.rate, seed=config.misc.seed)
    return None


def build_collate(config: Config, tokenizer: Tokenizer, room: int) -> TextCollate:
    """The collating of training samples.

    Args:
        room: tokens of the longest caption that the model reads whole.
    """
    experiment, on_device = config.experiment, _on_device(config)
    mixing = Mixing(
        kind=experiment.mixgen_type,
        p=experiment.mixgen_p,
        ratio=experiment.mixgen_ratio,
        rows=experiment.mixgen_rows,
    )
    return TextCollate(
        tokenizer,
        min(experiment.text_length, room),
        mixing=mixing if experiment.mixgen else None,
        masking=experiment.mlm_text if experiment.mlm else None,
        change=experiment.token_change,
        pads=config.model.token_selection is not None,  # its batch norm sees the padding
        # Each length is compiled and recorded by itself.
        multiple=16 if config.model.compile or config.model.cuda_graphs else 8,
        seed=config.misc.seed,
        statistics=statistics(_normalize(config)) if on_device else None,
    )


def log_unfit_captions(
    config: Config, dataset: CaptionDataset, tokenizer: Tokenizer, length: int
) -> None:
    """Log the number of training captions without words, and of more than `length` tokens.

    In a large set, those of some pictures are counted.
    """
    chosen = np.unique(np.linspace(0, len(dataset) - 1, MOST_COUNTED).astype(int)).tolist()
    pictures = {
        (language, picture.path): picture
        for index in chosen
        for language, picture in enumerate(dataset.described(index))
    }
    captions = [caption for picture in pictures.values() for caption in picture.captions]
    counted = "" if len(chosen) == len(dataset) else " that were counted"
    clean = config.experiment.clean_captions
    if wordless := sum(not clean_caption(caption) for caption in captions):
        log.warning(
            "%d of %d training captions%s have no words: python -m misc.datasets.check names them",
            *(wordless, len(captions), counted),
        )
    TokenDataset(captions, tokenizer, length, clean).log_cut(f"training captions{counted}")


def build_evaluation_transform(config: Config) -> Callable[[Image.Image], Tensor]:
    """The preparation of pictures for an evaluation."""
    size = config.data.image_size
    if config.experiment.use_altclip_processor:
        processor = _processor(config)
        resampling = Image.Resampling(processor.resampling)
        return CentreCropTransform(size, (processor.mean, processor.std), resampling)
    return EvaluationTransform(size, config.data.normalize, RESAMPLING[config.data.test_resampling])


def _build_augmentation(config: Config) -> Augmentation:
    size, normalize = config.data.image_size, _normalize(config)
    if not config.experiment.augment_image:
        return TrainTransform(size, normalize, augment=False)
    return find_image_augmentation(config.experiment.image_augment)(size, normalize)


def _processor(config: Config) -> Preprocessing:
    model = config.model
    return model.kind.loader().read_preprocessing(str(model.source), model.tokenizer_cache_dir)


def _normalize(config: Config) -> Normalize:
    if config.experiment.use_altclip_processor:
        processor = _processor(config)
        return processor.mean, processor.std
    return config.data.normalize


def _text_operation(name: str) -> Callable[[str, float, Generator], str]:
    operation = TEXT_OPERATIONS[name]
    function: Callable[..., str] = resolve_name(operation.function)
    return partial(function, synonyms=Synonyms()) if operation.takes_synonyms else function
