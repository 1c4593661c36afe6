"""People and vehicles found by pictures: CLIP-ReID's data, stages and evaluations from the
configuration.
"""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import torch

from errors import InputError
from misc.checkpoint import BEST, LAST, Start, find_checkpoint, load_weights, read_checkpoint
from misc.data import train_loader
from misc.datasets.reid import ReIDDataset, join_reid_training, read_reid
from misc.distributed import Processes
from misc.image_retrieval import ImageRetrieval
from misc.precision import Precision
from misc.reid_data import FeatureDataset, ReIDItems, ReIDTrainSet, collate_pictures
from misc.retrieval import encode_items
from misc.samplers import GlobalBatchSampler, IdentitySampler
from misc.task import (
    Task,
    build_curve,
    build_loading,
    freeze_named,
    prepare,
    share_batch,
)
from misc.trainer import Stage
from misc.transforms import RESAMPLING, EvaluationTransform, ReIDTransform
from model.build import Architecture, adapt_weights, build_model
from model.build_reid import (
    Known,
    build_clip_reid,
    build_picture_criterion,
    build_prompt_criterion,
    has_words,
    reid_of_checkpoint,
    reid_to_go_on_from,
)
from model.clip_reid import CLIPReID
from model.published_reid import is_published_reid, read_published_reid
from model.weight_sources import State
from options import Config, Schedule
from options import Stage as StageConfig

log = logging.getLogger(__name__)

# Beginnings of the names of what starts from nothing.
NEW_PARAMETERS = ("image_head.", "projected_head.", "side_information.")


class ReIDTask(Task):
    metric = "mAP"
    where = "reid.dataset, reid.root, reid.test_sets"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        reid = config.reid
        if reid.root is None:
            raise InputError(
                f"reid.root is not set: give reid.dataset={reid.dataset} reid.root=FOLDER, or draw "
                "pictures with `python -m misc.datasets.synthetic --layout market1501`"
            )
        sources = [(reid.dataset, reid.root), *((s.dataset, s.root) for s in reid.train_sets)]
        self.training = join_reid_training([read_reid(*source) for source in sources])
        trained = dict(zip(sources, self.training.datasets, strict=True))
        main = self.training.datasets[0]
        # To test on, and whether it is one of those that are trained on.
        self.tests: dict[str | None, tuple[ReIDDataset, bool]] = {None: (main, True)}
        for source in reid.test_sets:
            place = (source.dataset, source.root)
            dataset = trained[place] if place in trained else read_reid(*place)
            name = dataset.name
            if name in self.tests:
                name += f" ({source.root})"
            self.tests[name] = (dataset, place in trained)
        self.name, self.splits = main.name, ["test"]
        self.test_sets = [name for name in self.tests if name is not None]
        training = self.training
        self.known = Known(training.identities, training.cameras, training.views)
        self.knows_cameras = True

    # ---- The model -------------------------------------------------------------------------------

    def build_model(self, start: Start | None, for_training: bool) -> CLIPReID:
        config = self.config
        if start is not None:
            state, architecture = self._read_weights(start)
            model = reid_of_checkpoint(config, architecture)
            load_weights(model, state, start.file)
            self.knows_cameras = self._is_same_data(start, architecture)
            if for_training and architecture["identities"] != self.known.identities:
                raise InputError(
                    f"{start.file} was trained on {architecture['identities']} identities, and "
                    f"there are {self.known.identities}: resume with the data it was trained with"
                )
            return model
        if not (for_training and config.model.init_from):
            return build_clip_reid(config, self.known)
        file = find_checkpoint(Path(config.model.init_from), BEST, LAST)
        return self._go_on_from(Start(file, None))

    def _go_on_from(self, start: Start) -> CLIPReID:
        """A model to train anew, with the towers of a checkpoint."""
        config = self.config
        state, architecture = self._read_weights(start)
        learns = any(stage.learns == "prompts" and not stage.skip for stage in config.stages)
        if config.reid.i2t and not learns and not has_words(state, self.known):
            raise InputError(
                f"{start.file} holds no prompts of {self.known.identities} identities, which "
                "reid.i2t compares with: do not skip the stage that learns them, or set reid.i2t="
                "false"
            )
        if any(name.startswith("clip.") for name in state):  # of task text_to_image
            state, architecture = adapt_weights(config, state, architecture, 0)
            clip = build_model(config, 0, architecture, with_heads=False).clip
            parts = ((name.partition("."), tensor) for name, tensor in state.items())
            towers = {rest: tensor for (part, _, rest), tensor in parts if part == "clip"}
            load_weights(clip, towers, start.file)
            return build_clip_reid(config, self.known, clip)
        return reid_to_go_on_from(config, state, architecture, self.known)

    def _read_weights(self, start: Start) -> tuple[State, Architecture]:
        """Weights in our names, and what they are of, from a checkpoint of ours or another's."""
        config = self.config
        if start.content is None and is_published_reid(start.file):
            scratch = config.model.clip_pretrained is None
            heads = (config.model.vision.heads, config.model.text.heads) if scratch else None
            views = self.known.told(config)[1]
            published = read_published_reid(
                start.file, config.data.image_size, config.model.stride, heads, views
            )
            return published.state, published.architecture
        checkpoint = start.content or read_checkpoint(start.file)
        return checkpoint["model"], checkpoint["architecture"]

    def _is_same_data(self, start: Start, architecture: Architecture) -> bool:
        """Whether the cameras and views here are those that a checkpoint knows, if any."""
        if not architecture["cameras"]:
            return True
        here = self.config.reid
        trained = (
            here.dataset if start.content is None else start.content["config"]["reid"]["dataset"]
        )
        told = self.known.told(self.config)
        if here.dataset == trained and (architecture["cameras"], architecture["views"]) == told:
            return True
        log.warning(
            "%s knows other cameras and views than those of %s: the model is told none",
            start.file,
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


def _prepare(
    model: CLIPReID, first: Any, frozen: tuple[str, ...], schedule: Schedule
) -> torch.optim.Optimizer:
    first(model)
    freeze_named(model, model, frozen)
    return prepare(model, schedule, NEW_PARAMETERS)
