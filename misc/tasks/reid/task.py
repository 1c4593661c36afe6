"""Image re-identification: the data, model, stages and evaluations of a configuration."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

import torch

from errors import InputError
from misc.data.loader import TrainLoader
from misc.data.reid import (
    FeatureDataset,
    ReIDItems,
    ReIDTrainSet,
    Sample,
    collate_pictures,
)
from misc.data.samplers import GlobalBatchSampler, IdentitySampler
from misc.data.transforms import RESAMPLING, EvaluationTransform, ReIDTransform
from misc.retrieval.base import encode_items
from misc.retrieval.image import ImageRetrieval
from misc.runtime.checkpoint import Checkpoint
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.settings.sections import Config, StageSettings
from misc.tasks.base import Labelled, StagePlan, Task, TrainingSample, share_batch
from misc.tasks.loading import TrainingSet
from misc.tasks.pictures import PictureReader
from misc.tasks.reid.data import TrainingCounts, read_reid_data
from misc.tasks.reid.model import (
    fitted,
    knows_cameras,
    new_model,
    restored_model,
)
from misc.tasks.starting_weights import open_init_from
from model.architecture import JointArchitecture, ReIDArchitecture
from model.clip_reid import CLIPReID
from model.criteria.reid import ReIDCriterion, ReIDLossSettings
from model.interface import ReIDBatch

log = logging.getLogger(__name__)


class ReIDTask(Task[CLIPReID]):
    """Task image_to_image: CLIP-ReID's two stages, or its baseline, on one dataset or several."""

    metric = "mAP"
    data_keys = "reid.dataset, reid.root, reid.test_sets"
    new_parameters = ("image_head.", "projected_head.", "side_information.")

    def __init__(self, config: Config, processes: Processes, precision: Precision) -> None:
        super().__init__(config, processes, precision)
        self.data = read_reid_data(config)
        self.name, self.splits = self.data.tests[None][0].name, ["test"]
        self.test_sets = [name for name in self.data.tests if name is not None]
        training = self.data.training
        self.counts = TrainingCounts(
            training.num_identities, training.num_cameras, training.num_views
        )
        self.knows_cameras = True

    def build_model(self, checkpoint: Checkpoint | None, for_training: bool) -> CLIPReID:
        config, counts = self.config, self.counts
        if checkpoint is None:
            return new_model(config, open_init_from(config), counts)
        checkpoint = fitted(checkpoint, counts)
        model = restored_model(config, checkpoint, counts, for_training=for_training)
        self.compare_cameras(checkpoint)
        return model

    def compare_cameras(self, checkpoint: Checkpoint) -> None:
        """Evaluate without side information if a checkpoint's cameras or views are others."""
        self.knows_cameras = knows_cameras(self.config, self.counts, checkpoint)
        if not self.knows_cameras:
            architecture = checkpoint.architecture
            assert isinstance(architecture, ReIDArchitecture | JointArchitecture)
            log.warning(
                "%s was trained with %d cameras and %d views, which are not those of %s: it is "
                "evaluated without side information",
                checkpoint.file,
                architecture.num_cameras,
                architecture.num_views,
                self.name,
            )

    def describe(self, model: CLIPReID) -> ReIDArchitecture:
        return model.describe()

    def frozen_names(self, model: CLIPReID, stage: StageSettings) -> tuple[str, ...]:
        return model.frozen(learns_prompts=stage.learns == "prompts")

    def training_samples(self) -> list[TrainingSample]:
        return [
            TrainingSample(picture.path, (picture.identity, picture.camera, picture.view))
            for picture in self.data.training.pictures
        ]

    def evaluated_samples(self, split: str) -> Iterator[Labelled]:
        dataset, _ = self.data.tests[None]
        for role, pictures in (("query", dataset.query), ("gallery", dataset.gallery)):
            for picture in pictures:
                yield picture.path, (role, picture.identity, picture.camera, picture.view)

    def plan_stage(self, stage: StageSettings, model: CLIPReID) -> StagePlan:
        plans = {"prompts": self.plan_prompts, "model": self._plan_images}
        return plans[stage.learns](stage, model)

    def plan_prompts(self, stage: StageSettings, model: CLIPReID) -> StagePlan:
        """The words of the identities, from features of the pictures that are encoded once."""
        config, processes, pictures = self.config, self.processes, self.data.training.pictures
        features = FeatureDataset(torch.tensor([picture.identity for picture in pictures]))
        sampler = GlobalBatchSampler(
            len(features),
            share_batch(config, processes, stage.global_batch_size),
            rank=processes.rank,
            world_size=processes.world_size,
            seed=config.misc.seed,
        )

        def encode_pictures() -> None:
            model.eval()
            features.features = encode_items(
                ReIDItems(pictures, build_test_transform(self.config)),
                lambda batch: model.project_image(batch.images),
                processes=processes,
                precision=self.precision,
                loading=self.loading,
            )

        return StagePlan(
            criterion=ReIDCriterion({"sup_con": 1.0}),
            loader=TrainLoader(
                features,
                features.collate,
                sampler,
                num_workers=0,
                pin_memory=processes.device.type == "cuda",
            ),
            begin=encode_pictures,
            selects=False,
            normalises=False,
        )

    def _plan_images(self, stage: StageSettings, model: CLIPReID) -> StagePlan:
        """The image tower, from pictures of some identities at a time."""
        config, processes = self.config, self.processes
        whole = share_batch(config, processes, stage.global_batch_size) * processes.world_size
        return StagePlan(
            criterion=self.build_criterion(),
            loader=self.training_set(whole).load(config.data, processes),
            begin=partial(self.fix_text_features, model),
        )

    def fix_text_features(self, model: CLIPReID) -> None:
        """Compute what the pictures are compared with, if anything, before they are trained on."""
        if self.config.reid.i2t:
            model.fix_text_features()

    def build_criterion(self) -> ReIDCriterion:
        """The losses of the pictures that are switched on, with their weights."""
        reid = self.config.reid
        settings = ReIDLossSettings(smoothing=reid.smoothing, margin=reid.margin)
        return ReIDCriterion(reid.loss_weights(), settings)

    def training_set(
        self, batch_size: int, key: str = "data.global_batch_size"
    ) -> TrainingSet[ReIDTrainSet, Callable[[Sequence[Sample]], ReIDBatch]]:
        """The pictures, and the batches of the image tower.

        Args:
            batch_size: of all processes together.
            key: of the configuration that gives it.

        Raises:
            InputError: it is no multiple of the images of an identity.
        """
        config, processes = self.config, self.processes
        data, seed, each = config.data, config.misc.seed, config.reid.images_per_identity
        if batch_size % each:
            raise InputError(
                f"a batch of {batch_size} pictures ({key}) is no multiple of "
                f"reid.images_per_identity={each}: give one"
            )
        if data.augment_on == "device":
            log.warning("data.augment_on=device needs task text_to_image: the CPU augments")
        pictures = self.data.training.pictures
        sampler = IdentitySampler(
            [picture.identity for picture in pictures],
            identities_per_batch=batch_size // each,
            images_per_identity=each,
            rank=processes.rank,
            world_size=processes.world_size,
            seed=seed,
            key=key,
        )
        transform = ReIDTransform(data.image_size, data.normalize)
        dataset = ReIDTrainSet(pictures, transform, seed, self._reader)
        return TrainingSet(dataset, collate_pictures, sampler, self._reader.caches)

    @cached_property
    def _reader(self) -> PictureReader:
        pictures = self.data.training.pictures
        return PictureReader(self.config.data, [Path(picture.path) for picture in pictures])

    def build_retrieval(self, split: str, test_set: str | None = None) -> ImageRetrieval:
        dataset, is_trained = self.data.tests[test_set]
        reid = self.config.reid
        if reid.unlabelled_views == "drop" and reid.sie in ("view", "both"):
            dataset = dataset.with_viewpoints()
        return ImageRetrieval(
            dataset,
            build_test_transform(self.config),
            loading=self.loading,
            knows_cameras=self.knows_cameras and is_trained,
            flip=self.config.reid.flip,
            seed=self.config.misc.seed,
        )


def build_test_transform(config: Config) -> EvaluationTransform:
    """The preparation of pictures for an evaluation."""
    data = config.data
    return EvaluationTransform(data.image_size, data.normalize, RESAMPLING[data.test_resampling])
