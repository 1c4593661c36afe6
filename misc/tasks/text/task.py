"""Text-to-image retrieval: the data, model, stages and evaluations of a configuration."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from errors import InputError
from misc.data.loader import Trainable, TrainLoader
from misc.data.samplers import GlobalBatchSampler
from misc.data.text import CaptionDataset
from misc.data.text_collate import TextCollate
from misc.datasets.lazy import Mapped
from misc.datasets.pairs import ListedAndPairs
from misc.retrieval.text import TextRetrieval
from misc.runtime.checkpoint import Checkpoint
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.settings.sections import Config, StageSettings
from misc.tasks.base import Labelled, StagePlan, Task, TrainingSample, share_batch
from misc.tasks.loading import TrainingSet
from misc.tasks.pictures import PictureReader
from misc.tasks.starting_weights import build_tokenizer, open_init_from
from misc.tasks.text.data import (
    build_collate,
    build_evaluation_transform,
    build_training_set,
    log_unfit_captions,
    read_text_data,
    training_split,
)
from misc.tasks.text.model import always_frozen, describe, new_model, restored_model
from misc.training.division import TRUTH, Division
from misc.training.mixture import MixtureSettings, published_fit
from model.architecture import TextArchitecture
from model.criteria.text import TextCriterion, TextLossSettings
from model.tbps_clip import NEW_PARAMETERS, NEW_WEIGHTS, TBPSCLIP

log = logging.getLogger(__name__)


class TextTask(Task[TBPSCLIP]):
    """Task text_to_image: the losses between pictures and captions, on a backbone that trains as a
    whole or in part.
    """

    metric = "R1"
    data_keys = "data.annotation_file, data.image_root, data.test_sets, data.languages"
    new_parameters, new_weights = NEW_PARAMETERS, NEW_WEIGHTS
    freezable = "clip"

    def __init__(self, config: Config, processes: Processes, precision: Precision) -> None:
        config, self.warning = without_masked_words(config)
        super().__init__(config, processes, precision)
        self.data = read_text_data(config)
        self.name = self.data.name
        self.splits = list(self.data.splits)
        self.test_sets = list(self.data.test_sets)
        self.tokenizer = build_tokenizer(config)

    @classmethod
    def check(cls, config: Config) -> None:
        build_criterion(config)

    def build_model(self, checkpoint: Checkpoint | None, for_training: bool) -> TBPSCLIP:
        config, num_identities = self.config, self.count_identities(for_training)
        if checkpoint is None:
            return new_model(config, open_init_from(config), num_identities=num_identities)
        return restored_model(
            config, checkpoint, num_identities=num_identities, with_heads=for_training
        )

    def count_identities(self, for_training: bool) -> int:
        """People in the training set; 0 if some images have no annotated identity.

        Raises:
            InputError: a training has none to classify.
        """
        if for_training and self.config.experiment.id and not self.data.has_identities:
            raise InputError(
                "experiment.id: a training set has no identities that could be classified (`id` in "
                "its records); set experiment.id=false"
            )
        return self.data.num_identities

    def describe(self, model: TBPSCLIP) -> TextArchitecture:
        return describe(self.config, model)

    def omitted_names(self, model: TBPSCLIP) -> tuple[str, ...]:
        return always_frozen(self.config, model) if self.config.tunes else ()

    def frozen_names(self, model: TBPSCLIP, stage: StageSettings) -> tuple[str, ...]:
        return tuple(name.removeprefix("clip.") for name in always_frozen(self.config, model))

    def training_samples(self) -> Sequence[TrainingSample]:
        return Mapped(len(self._training_set), self._training_sample)

    def _training_sample(self, index: int) -> TrainingSample:
        each, text = self._training_set.described(index), int(self._training_set.texts[index])
        labels = (each[0].identity, *(one.captions for one in each))
        return TrainingSample(each[0].path, labels if text == index else (*labels, text))

    def hashed_samples(self) -> Iterable[TrainingSample]:
        samples, pictures = self.training_samples(), self._training_set.languages[0]
        if not isinstance(pictures, ListedAndPairs):
            return samples
        files = [
            TrainingSample(str(pairs.root / "pairs"), (pairs.lines.hash,))
            for pairs in pictures.pairs
        ]
        return [*samples[: len(samples) - sum(map(len, pictures.pairs))], *files]

    def evaluated_samples(self, split: str) -> Iterator[Labelled]:
        for language, pictures in self.data.splits[split].items():
            for picture in pictures:
                yield picture.path, (picture.identity, language, picture.captions)

    @property
    def _mismatched(self) -> NDArray[np.bool_]:
        """Whether noise was injected into each pair of the training set."""
        return self._training_set.texts != np.arange(len(self._training_set))

    def plan_stage(self, stage: StageSettings, model: TBPSCLIP) -> StagePlan:
        criterion = build_criterion(self.config)
        loader = self.training_set(stage, model).load(self.config.data, self.processes)
        return StagePlan(
            criterion=criterion, loader=loader, division=self._build_division(criterion, loader)
        )

    def training_set(
        self, stage: StageSettings, model: TBPSCLIP
    ) -> TrainingSet[CaptionDataset, TextCollate]:
        """The captions with their pictures, and the batches of a stage.

        Raises:
            InputError: they are fewer than a batch, or the processes cannot share one.
        """
        config, processes, dataset = self.config, self.processes, self._training_set
        batch_size = share_batch(config, processes, stage.global_batch_size)
        mixed = config.experiment.mixgen_rows
        if config.experiment.mixgen and batch_size % mixed:
            raise InputError(
                f"experiment.mixgen_rows={mixed} does not divide the {batch_size} captions that a "
                "process has in a step: give one that does"
            )
        collate = build_collate(config, self.tokenizer, model.clip.text.room)
        if processes.is_main and stage is config.stages[0]:
            log_unfit_captions(config, dataset, self.tokenizer, collate.text_length)
        sampler = GlobalBatchSampler(
            len(dataset),
            batch_size,
            rank=processes.rank,
            world_size=processes.world_size,
            seed=config.misc.seed,
        )
        return TrainingSet(dataset, collate, sampler, self._reader.caches)

    def _build_division(
        self, criterion: TextCriterion, loader: TrainLoader[Trainable]
    ) -> Division | None:
        config, dataset = self.config, self._training_set
        loss = config.experiment.division
        if loss == "none":
            return None
        mismatched = self._mismatched
        return Division(
            criterion,
            loss,
            loader,
            size=len(dataset),
            processes=self.processes,
            precision=self.precision,
            mixture=self._choose_fit(),
            seed=config.misc.seed,
            chunk=config.data.test_batch_size,
            mismatched=mismatched if mismatched.any() else None,
        )

    def _choose_fit(self) -> MixtureSettings:
        """The settings of the division's mixture; they are logged."""
        if self.config.experiment.division == TRUTH:
            return MixtureSettings()  # which nothing is fitted by
        given = self.config.experiment.mixture
        if given is None:
            fit = published_fit(float(self._mismatched.mean()), self.name)
        else:
            fit = MixtureSettings(given.max_iter, given.tol, given.reg)
        source = "RDE's for this noise and dataset" if given is None else "experiment.mixture"
        numbers = fit.max_iter, fit.tol, fit.reg
        log.info("Division: the fit is max_iter %d, tol %g, reg %g: %s", *numbers, source)
        return fit

    @cached_property
    def _training_set(self) -> CaptionDataset:
        return build_training_set(self.config, self.data, self._reader)

    @cached_property
    def _reader(self) -> PictureReader:
        pictures = next(iter(training_split(self.config, self.data).values()))
        files = Mapped(len(pictures), lambda index: Path(pictures[index].path))
        return PictureReader(self.config.data, files)

    def build_retrieval(self, split: str, test_set: str | None = None) -> TextRetrieval:
        data = self.data
        pictures = data.splits[split] if test_set is None else data.test_sets[test_set]
        return TextRetrieval(
            pictures,
            build_evaluation_transform(self.config),
            self.tokenizer,
            text_length=self.config.experiment.text_length,
            loading=self.loading,
            clean=self.config.experiment.clean_captions,
            embeddings=self._embeddings,
        )

    @property
    def _embeddings(self) -> dict[str, int]:
        """The widths of the embeddings of which a feature is joined, by name; none of a single."""
        model, selection = self.config.model, self.config.model.token_selection
        if selection is None:
            return {}
        return {"global": model.embed_dim, "token selection": selection.embed_dim}


def without_masked_words(config: Config) -> tuple[Config, str]:
    """The configuration without masked-word prediction where the weights' vocabulary is not
    CLIP's, and a sentence that says so, or none.

    Raises:
        InputError: no loss is left.
    """
    weights = config.model.source or config.model.backbone
    if not config.experiment.mlm or config.model.reads_clip_words:
        return config, ""
    experiment = config.experiment.model_copy(update={"mlm": False})
    if not any(experiment.loss_weights().values()):
        raise InputError(
            f"experiment.mlm is the only loss, and needs CLIP's vocabulary, but {weights} has "
            "another: set nitc, ritc or another loss to true"
        )
    return (
        config.model_copy(update={"experiment": experiment}),
        "experiment.mlm is switched off: it predicts words of CLIP's vocabulary, and "
        f"{weights} has another",
    )


def build_criterion(config: Config) -> TextCriterion:
    """The losses that are switched on, with their weights."""
    experiment = config.experiment
    settings = TextLossSettings(
        softlabel_ratio=config.model.softlabel_ratio,
        ritc_eps=experiment.ritc_eps,
        citc_inmodal=experiment.citc_lambda1,
        citc_crossmodal=experiment.citc_lambda2,
        simclr_temperature=experiment.simclr_temperature,
        tal_temperature=experiment.tal_temperature,
        tal_margin=experiment.tal_margin,
        sigmoid_positives=experiment.sigmoid_positives,
    )
    return TextCriterion(experiment.loss_weights(), settings)
