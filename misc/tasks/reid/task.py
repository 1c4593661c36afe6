"""People and vehicles found by pictures: CLIP-ReID's data, stages and evaluations from the
configuration.
"""

import logging
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from errors import InputError
from misc.data.loader import train_loader
from misc.data.reid import FeatureDataset, ReIDItems, ReIDTrainSet, collate_pictures
from misc.data.samplers import GlobalBatchSampler, IdentitySampler
from misc.data.transforms import RESAMPLING, EvaluationTransform, ReIDTransform
from misc.datasets.reid import ReIDDataset, join_reid_training, read_reid
from misc.retrieval.base import encode_items
from misc.retrieval.image import ImageRetrieval
from misc.runtime.checkpoint import (
    BEST,
    LAST,
    Start,
    find_checkpoint,
    load_weights,
    read_checkpoint,
)
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
from misc.tasks.reid.build import (
    WORDS,
    Known,
    build_clip_reid,
    build_picture_criterion,
    build_prompt_criterion,
    reid_of_checkpoint,
    reid_to_go_on_from,
)
from misc.tasks.text.build import Architecture
from misc.tasks.text.model import is_of_text, new_model
from misc.training.trainer import Stage
from model.clip_reid import CLIPReID
from model.tuning.cskt import describe_tuning
from model.weights.published_reid import is_published_reid, read_published_reid
from model.weights.sources import State
from options import Config, Schedule, Tree, to_tree
from options import Stage as StageConfig

log = logging.getLogger(__name__)

# What CLIP-ReID's published weights are of, which do not tell it.
PUBLISHED_SIZES, PUBLISHED_STRIDES = ((256, 128), (256, 256)), (None, 12)
# Beginnings of the names of what starts from nothing.
NEW_PARAMETERS = ("image_head.", "projected_head.", "side_information.")


class ReIDTask(Task):
    """Task image_to_image: CLIP-ReID's two stages, or its baseline, on one dataset or several."""

    metric = "mAP"
    where = "reid.dataset, reid.root, reid.test_sets"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        reid = config.reid
        if reid.root is None:
            raise InputError(
                f"reid.root is not set: give reid.dataset={reid.dataset} reid.root=FOLDER, or draw "
                "pictures with `python -m misc.synthetic --layout market1501`"
            )
        sources = [(reid.dataset, reid.root), *((s.dataset, s.root) for s in reid.train_sets)]
        places = [(dataset, Path(root).resolve()) for dataset, root in sources]
        for source, place in zip(sources, places, strict=True):
            if places.count(place) > 1:
                raise InputError(f"reid.train_sets: {source[0]} in {source[1]} is given twice")
        self.training = join_reid_training([read_reid(*source) for source in sources])
        trained = dict(zip(places, self.training.datasets, strict=True))
        # To test on, and whether it is one of those that are trained on.
        main = self.training.datasets[0]
        self.tests: dict[str | None, tuple[ReIDDataset, bool]] = {None: (main, True)}
        for more in reid.test_sets:
            place = (more.dataset, Path(more.root).resolve())
            dataset = trained.get(place) or read_reid(more.dataset, more.root)
            name = dataset.name
            if name in self.tests:
                name += f" ({more.root})"
            if name in self.tests:
                raise InputError(f"reid.test_sets: {name} is given twice")
            self.tests[name] = (dataset, place in trained)
        self.name, self.splits = main.name, ["test"]
        self.test_sets = [name for name in self.tests if name is not None]
        training = self.training
        self.known = Known(training.num_identities, training.num_cameras, training.num_views)
        self.knows_cameras = True

    # ---- The model -------------------------------------------------------------------------------

    def build_model(self, start: Start | None, for_training: bool) -> CLIPReID:
        config = self.config
        if start is None and for_training and config.model.init_from:
            file = find_checkpoint(Path(config.model.init_from), BEST, LAST)
            return self._go_on_from(Start(file, None))
        if start is None:
            return build_clip_reid(config, self.known)
        if is_of_text(start):
            raise InputError(
                f"{start.file} is of task text_to_image, which knows no identities: begin a "
                "training with it by model.init_from, or give a checkpoint of task image_to_image"
            )
        state, architecture = self._read_weights(start)
        model = reid_of_checkpoint(config, architecture)
        load_weights(model, state, start.file)
        self.knows_cameras = self._knows_cameras(start, architecture)
        if for_training and architecture["identities"] != self.known.identities:
            raise InputError(
                f"{start.file} was trained on {architecture['identities']} identities, and "
                f"there are {self.known.identities}: resume with the data it was trained with"
            )
        return model

    def _go_on_from(self, start: Start) -> CLIPReID:
        """A model to train anew, with the towers of a checkpoint."""
        config = self.config
        if is_of_text(start):
            self._check_words({}, start.file)
            clip = new_model(config, with_heads=False).clip
            if tuning := describe_tuning(clip):
                raise InputError(
                    f"{start.file} is tuned by {', '.join(tuning)}, which task image_to_image has "
                    "no place for: give a whole model"
                )
            return build_clip_reid(config, self.known, clip)
        state, architecture = self._read_weights(start, any_size=True)
        trained = _trained_with(start)
        if self._learns_prompts or (trained and _sets(trained) != _sets(to_tree(config))):
            state = {name: tensor for name, tensor in state.items() if name != WORDS}
        self._check_words(state, start.file)
        same_noun = trained is None or trained["reid"]["noun"] == config.reid.noun
        return reid_to_go_on_from(config, state, architecture, self.known, same_noun)

    @property
    def _learns_prompts(self) -> bool:
        return any(stage.learns == "prompts" and not stage.skip for stage in self.config.stages)

    def _check_words(self, state: State, file: Path) -> None:
        """See that what the second stage reads is learnt before."""
        identities, held = self.known.identities, len(state.get(WORDS, ()))
        if self.config.reid.i2t and not self._learns_prompts and held != identities:
            raise InputError(
                f"{file} holds no prompts of these {identities} identities, which reid.i2t "
                "compares with: do not skip the stage that learns them, or set reid.i2t=false"
            )

    def _read_weights(self, start: Start, any_size: bool = False) -> tuple[State, Architecture]:
        """Weights in our names, and what they are of, from a checkpoint of ours or another's.

        Args:
            any_size: take another's of another image size than the configuration's.
        """
        if start.content is not None or not is_published_reid(start.file):
            checkpoint = start.content or read_checkpoint(start.file)
            return checkpoint["model"], checkpoint["architecture"]
        config = self.config
        scratch = config.model.clip_pretrained is None
        heads = (config.model.vision.heads, config.model.text.heads) if scratch else None

        def read(size: tuple[int, int], stride: int | None) -> tuple[State, Architecture]:
            known = self.known
            published = read_published_reid(
                start.file, size, stride, heads, known.cameras, known.views
            )
            return published.state, published.architecture

        try:
            return read(config.data.image_size, config.model.stride)
        except InputError:
            for size, stride in product(PUBLISHED_SIZES, PUBLISHED_STRIDES) if any_size else ():
                with suppress(InputError):
                    return read(size, stride)
            raise

    def _knows_cameras(self, start: Start, architecture: Architecture) -> bool:
        """Whether the cameras and views here are those that a checkpoint knows, if any."""
        cameras, views = architecture["cameras"], architecture["views"]
        trained = _trained_with(start)
        same_data = trained is None or _sets(trained) == _sets(to_tree(self.config))
        counts_fit = cameras in (1, self.known.cameras) and views in (1, self.known.views)
        if cameras == 0 or (same_data and counts_fit):
            return True
        log.warning(
            "%s knows %d cameras and %d views, which are not those of %s: it is told none",
            start.file,
            cameras,
            views,
            self.name,
        )
        return False

    def describe(self, model: CLIPReID) -> Architecture:
        return model.describe()

    # ---- Evaluation ------------------------------------------------------------------------------

    def build_retrieval(self, split: str, test_set: str | None = None) -> ImageRetrieval:
        dataset, is_trained = self.tests[test_set]
        return ImageRetrieval(
            dataset,
            self._test_transform(),
            build_loading(self.config),
            self.knows_cameras and is_trained,
            self.config.reid.flip,
            self.config.misc.seed,
        )

    def _test_transform(self) -> EvaluationTransform:
        data = self.config.data
        resampling = RESAMPLING[data.test_resampling]
        return EvaluationTransform(data.image_size, data.normalize, resampling)

    # ---- Training --------------------------------------------------------------------------------

    def build_stages(
        self, model: CLIPReID, processes: Processes, precision: Precision
    ) -> list[Stage]:
        """The stages of the training, in order.

        Raises:
            InputError: if there are fewer pictures or identities than a batch takes, or a stage
                freezes what the model does not have.
        """
        stages = []
        for stage in self.config.stages:
            if stage.skip:
                continue
            build = self._learn_prompts if stage.learns == "prompts" else self._learn_pictures
            stages.append(build(stage, model, processes, precision))
        return stages

    def _learn_prompts(
        self, stage: StageConfig, model: CLIPReID, processes: Processes, precision: Precision
    ) -> Stage:
        """The words of the identities, from features of the pictures that are encoded once."""
        config, pictures = self.config, self.training.pictures
        features = FeatureDataset(torch.tensor([picture.identity for picture in pictures]))
        sampler = GlobalBatchSampler(
            len(features),
            share_batch(config, processes, stage.global_batch_size),
            processes.rank,
            processes.world_size,
            config.misc.seed,
        )

        def encode(model: CLIPReID) -> None:
            model.eval()
            items = ReIDItems(pictures, self._test_transform())
            features.features = encode_items(
                items,
                lambda batch: model.project_image(batch.images),
                processes,
                precision,
                build_loading(config),
            )

        on_gpu = processes.device.type == "cuda"
        loader = train_loader(features, features.collate, sampler, 0, pin_memory=on_gpu)
        schedule, frozen = self._settings(stage, model)
        return Stage(
            stage.name,
            build_prompt_criterion(),
            loader,
            partial(_prepare, first=encode, frozen=frozen, schedule=schedule),
            build_curve(schedule, len(loader)),
            schedule.epoch,
            schedule.clip_grad,
            selects=False,
            normalises=False,
        )

    def _learn_pictures(
        self, stage: StageConfig, model: CLIPReID, processes: Processes, precision: Precision
    ) -> Stage:
        """The image tower, from pictures of some identities at a time."""
        config, data = self.config, self.config.data
        here = share_batch(config, processes, stage.global_batch_size)
        whole, each = here * processes.world_size, config.reid.images_per_identity
        if whole % each:
            raise InputError(
                f"a batch of {whole} pictures (data.global_batch_size) is no multiple of "
                f"reid.images_per_identity={each}: give one"
            )
        transform = ReIDTransform(data.image_size, data.normalize)
        dataset = ReIDTrainSet(self.training.pictures, transform, config.misc.seed)
        sampler = IdentitySampler(
            [picture.identity for picture in dataset.pictures],
            whole // each,
            each,
            processes.rank,
            processes.world_size,
            config.misc.seed,
        )
        on_gpu = processes.device.type == "cuda"
        loader = train_loader(dataset, collate_pictures, sampler, data.num_workers, on_gpu)

        def fix_text_features(model: CLIPReID) -> None:
            if config.reid.i2t:
                model.fix_text_features()

        schedule, frozen = self._settings(stage, model)
        return Stage(
            stage.name,
            build_picture_criterion(config),
            loader,
            partial(_prepare, first=fix_text_features, frozen=frozen, schedule=schedule),
            build_curve(schedule, len(loader)),
            schedule.epoch,
            schedule.clip_grad,
        )

    def _settings(self, stage: StageConfig, model: CLIPReID) -> tuple[Schedule, tuple[str, ...]]:
        """A stage's schedule, and what it freezes."""
        own = model.frozen(learns_prompts=stage.learns == "prompts")
        frozen = (*own, *self.config.model.freeze, *stage.freeze)
        freeze_named(model, model, frozen)  # here, too, to find a misspelt name in time
        return self.config.stage_schedule(stage), frozen


def _trained_with(start: Start) -> Tree | None:
    """The configuration that a checkpoint of ours was trained with."""
    if start.content is not None:
        return dict(start.content["config"])
    if is_published_reid(start.file):
        return None
    return dict(read_checkpoint(start.file)["config"])


def _sets(config: Tree) -> list[str]:
    """The datasets that are trained on, whose identities and cameras are numbered in this order."""
    reid = config["reid"]
    return [reid["dataset"], *(source["dataset"] for source in reid["train_sets"])]


def _prepare(
    model: CLIPReID, first: Any, frozen: tuple[str, ...], schedule: Schedule
) -> torch.optim.Optimizer:
    first(model)
    freeze_named(model, model, frozen)
    return prepare(model, schedule, NEW_PARAMETERS)
