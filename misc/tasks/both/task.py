"""Both tasks at once: one model for sentences and for pictures, trained for both in each step.

The data, losses and evaluations are those of the two tasks.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch.nn.functional as F

from errors import InputError
from misc.data.joint import JointCollate, JointTrainSet
from misc.data.samplers import JointSampler
from misc.datasets.lazy import Mapped
from misc.retrieval.base import Results, Retrieval, encode_items
from misc.retrieval.features import Features
from misc.runtime.checkpoint import Checkpoint
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.settings.sections import Config, StageSettings
from misc.tasks.base import Labelled, StagePlan, Task, TrainingSample, share_batch
from misc.tasks.both.model import describe_joint, new_model, restored_model
from misc.tasks.both.retrieval import PictureRetrieval, gallery_features, gallery_parts
from misc.tasks.both.selection import JointSelection
from misc.tasks.fingerprint import movable
from misc.tasks.loading import TrainingSet
from misc.tasks.reid.task import ReIDTask
from misc.tasks.starting_weights import open_init_from
from misc.tasks.text.task import TextTask, build_criterion
from misc.training.engine import Selection
from model.architecture import JointArchitecture
from model.criteria.joint import JointCriterion
from model.interface import Method
from model.joint_clip import REID, JointCLIP

log = logging.getLogger(__name__)

PICTURES = "reid.global_batch_size"


class BothTask(Task[JointCLIP]):
    """Task both: pairs of one dataset and pictures of another in each step, on one image tower.

    People are told apart by dataset: those of the pairs and those of the pictures are others, even
    where they have the same number.
    """

    data_keys = f"{TextTask.data_keys}, {ReIDTask.data_keys}"
    new_parameters = (*TextTask.new_parameters, *(REID + n for n in ReIDTask.new_parameters))
    new_weights = TextTask.new_weights
    freezable = TextTask.freezable

    def __init__(self, config: Config, processes: Processes, precision: Precision) -> None:
        config, told = _without_processor(config)
        gib = config.data.cache_gib
        # Two caches in memory know nothing of each other; those on a disk count the whole folder.
        own = gib / 2 if config.data.cache == "memory" else gib
        self.text = TextTask(_with_cache(config, own), processes, precision)
        self.reid = ReIDTask(self.text.config, processes, precision)
        super().__init__(_with_cache(self.text.config, gib), processes, precision)
        self.warning = "; ".join(filter(None, (told, self.text.warning)))
        self.name, self.splits = self.text.name, self.text.splits
        self.test_sets = [*self.text.test_sets, self.reid.name, *self.reid.test_sets]
        names = [self.name, *self.test_sets]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InputError(
                f"two datasets are named {twice}: rename the folder of reid.root or "
                "data.annotation_file, or give that of data.test_sets another name"
            )

    @classmethod
    def check(cls, config: Config) -> None:
        TextTask.check(config)

    def build_model(self, checkpoint: Checkpoint | None, for_training: bool) -> JointCLIP:
        config, counts = self.config, self.reid.counts
        num_identities = self.text.count_identities(for_training)
        if for_training and self.processes.is_main:
            log.info(
                "People are told apart by dataset: %d of %s for sentences, %d of %s for pictures",
                self.text.data.num_identities,
                self.name,
                counts.num_identities,
                " and ".join(dataset.name for dataset in self.reid.data.training.datasets),
            )
        if checkpoint is None:
            return new_model(config, open_init_from(config), counts, num_identities)
        own = counts if for_training else None
        model = restored_model(config, checkpoint, own, with_heads=for_training)
        self.reid.compare_cameras(checkpoint)
        return model

    def describe(self, model: JointCLIP) -> JointArchitecture:
        return describe_joint(self.config, model)

    def training_samples(self) -> Sequence[TrainingSample]:
        pairs, pictures = self.text.training_samples(), self.reid.training_samples()

        def sample(index: int) -> TrainingSample:
            return pairs[index] if index < len(pairs) else pictures[index - len(pairs)]

        return Mapped(len(pairs) + len(pictures), sample)

    def hashed_samples(self) -> Iterator[TrainingSample]:
        """Samples of either task, by paths from a folder of its own."""
        for name, task in (("pairs", self.text), ("pictures", self.reid)):
            yield from _below(name, task.hashed_samples())

    def evaluated_samples(self, split: str) -> Iterator[TrainingSample]:
        for name, task in (("pairs", self.text), ("pictures", self.reid)):
            yield from _below(name, task.evaluated_samples(split))

    def frozen_names(self, model: JointCLIP, stage: StageSettings) -> tuple[str, ...]:
        if stage.learns == "prompts":
            return tuple(name for name, _ in model.clip.named_parameters())
        return self.text.frozen_names(model, stage)

    def plan_stage(self, stage: StageSettings, model: JointCLIP) -> StagePlan:
        if stage.learns == "prompts":
            plan = self.reid.plan_prompts(stage, model.reid)
            samples = self.reid.training_samples()
            return replace(plan, begin=partial(_begin, model, True, plan.begin), samples=samples)
        fix_text_features = partial(self.reid.fix_text_features, model.reid)
        return StagePlan(
            criterion=JointCriterion(build_criterion(self.config), self.reid.build_criterion()),
            loader=self.training_set(stage, model).load(self.config.data, self.processes),
            begin=partial(_begin, model, False, fix_text_features),
        )

    def training_set(
        self, stage: StageSettings, model: JointCLIP
    ) -> TrainingSet[JointTrainSet, JointCollate]:
        """The pairs and the pictures, and the batches of a stage.

        Raises:
            InputError: a batch has too few pictures, or cannot be shared or encoded in parts.
        """
        config, chunk = self.config, self.config.data.batch_size
        pairs = self.text.training_set(stage, model)
        size, each = self._count_pictures(stage), config.reid.images_per_identity
        if size < 2 * each:
            raise InputError(
                f"a batch of {size} pictures ({PICTURES}) has fewer than two people with "
                f"{each} pictures each (reid.images_per_identity), which the triplets need: give "
                f"{2 * each} or more"
            )
        pictures = self.reid.training_set(size, PICTURES)
        sampler = JointSampler(pairs.sampler, pictures.sampler, offset=len(pairs.items))
        least = min(pairs.sampler.batch_size, pictures.sampler.batch_size)
        if sampler.parts(chunk) > least:
            raise InputError(
                f"a step in parts of data.batch_size={chunk} has {sampler.parts(chunk)} of them, "
                f"which {least} pairs or pictures of a process cannot be divided among: raise "
                "data.batch_size"
            )
        caches = [*pairs.caches, *pictures.caches]
        for cache in caches:
            cache.needed = [each.file for each in caches]
        return TrainingSet(
            JointTrainSet(pairs.items, pictures.items), JointCollate(pairs.collate), sampler, caches
        )

    def _count_pictures(self, stage: StageSettings) -> int:
        """Pictures of a step, of all processes."""
        config, processes = self.config, self.processes
        pairs = share_batch(config, processes, stage.global_batch_size) * processes.world_size
        return config.reid.global_batch_size or pairs

    def build_selection(self, split: str) -> Selection:
        if split not in self.reid.splits:
            raise InputError(
                f"experiment.select_on={split}: {self.reid.name} has no {split} split, and both "
                "tasks select together: give test or last"
            )
        pairs, pictures = self.text.build_retrieval(split), self._picture_retrieval(split)

        def evaluate(model: Method) -> Results:
            assert isinstance(model, JointCLIP)
            own = model, self.processes, self.precision
            return pairs.evaluate(*own) | pictures.evaluate(*own)

        weights = self.config.experiment.selection_weights
        period = self.config.evaluation.period
        return JointSelection(split, evaluate, period=period, weights=weights)

    def calibration_features(self, model: JointCLIP, split: str) -> Features:
        pairs, flip = self.text.build_retrieval(split), self.config.reid.flip
        model.eval()
        encode = partial(
            encode_items,
            processes=self.processes,
            precision=self.precision,
            loading=pairs.loading,
        )
        image = encode(pairs.images, partial(gallery_features, model, flip=flip))
        text = F.normalize(encode(pairs.texts, model.encode_text), dim=-1)
        return replace(pairs.features((image, text), model), parts=gallery_parts(model))

    def build_retrieval(self, split: str, test_set: str | None = None) -> Retrieval:
        if test_set is None or test_set in self.text.test_sets:
            return self.text.build_retrieval(split, test_set)
        return self._picture_retrieval(split, None if test_set == self.reid.name else test_set)

    def _picture_retrieval(self, split: str, test_set: str | None = None) -> PictureRetrieval:
        return PictureRetrieval(self.reid.build_retrieval(split, test_set))


def _begin(model: JointCLIP, learns_prompts: bool, then: Callable[[], None]) -> None:
    model.train_parts(learns_prompts)
    then()


def _below(folder: str, samples: Iterable[Labelled]) -> Iterator[TrainingSample]:
    """Samples as if the folder of all their pictures were another one."""
    for path, labels in movable(samples):
        yield TrainingSample(os.path.join(os.sep, folder, path), labels)


def _without_processor(config: Config) -> tuple[Config, str]:
    """The configuration without AltCLIP's processor, which its recipe asks for, and a sentence that
    says so, or none.
    """
    if not config.experiment.use_altclip_processor:
        return config, ""
    experiment = config.experiment.model_copy(update={"use_altclip_processor": False})
    return (
        config.model_copy(update={"experiment": experiment}),
        "experiment.use_altclip_processor is switched off: task both prepares the pictures of both "
        "datasets alike, by data.normalize",
    )


def _with_cache(config: Config, gib: float) -> Config:
    return config.model_copy(update={"data": config.data.model_copy(update={"cache_gib": gib})})
