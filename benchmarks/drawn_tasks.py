"""Tasks of the project on batches of noise: no dataset and no weights are needed.

The models, losses, optimizers and stages are those that the tasks build from a configuration.
"""

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor
from torch.utils.data import Dataset

import options
from misc.data.samplers import SampleKey
from misc.data.text import Sample
from misc.datasets.reid import ReIDTraining
from misc.datasets.reid_published import ReIDPicture
from misc.datasets.text_annotations import TextPicture
from misc.runtime.checkpoint import Checkpoint
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.settings.sections import StageSettings
from misc.tasks.base import StagePlan, Task, TrainingSample
from misc.tasks.both.model import new_model as new_joint_model
from misc.tasks.both.task import BothTask
from misc.tasks.pictures import PictureReader
from misc.tasks.reid.data import ReIDData, TrainingCounts
from misc.tasks.reid.task import ReIDTask
from misc.tasks.starting_weights import build_tokenizer
from misc.tasks.text.model import build_tbps_clip, new_model
from misc.tasks.text.task import TextTask
from model.altclip import AltCLIP, AltTextShape
from model.clip_reid import CLIPReID
from model.interface import Batch, JointBatch, PromptBatch, ReIDBatch, TextBatch
from model.joint_clip import JointCLIP
from model.tbps_clip import TBPSCLIP
from model.vit import VisionShape
from text_utils.tokenizer import Tokenizer

POOL = 32  # pictures that are drawn; samples share them
CAPTION = (  # of 60 tokens, as long ones of CUHK-PEDES are
    "A young woman with long dark hair tied back wears a light blue denim jacket over a white "
    "shirt, tight black trousers and grey running shoes with bright pink laces. She carries a "
    "brown leather bag over her left shoulder, holds a phone in her right hand and walks "
    "towards the camera beside a man."
)
IDENTITIES, CAMERAS = 751, 6  # of Market-1501


class DrawnPairs(Dataset[Sample]):
    """Pairs of noise and a caption; nothing is decoded or augmented."""

    def __init__(self, config: options.Config, size: int) -> None:
        experiment, (rows, columns) = config.experiment, config.data.image_size
        views = 2 if experiment.mvs_image and experiment.nitc else 1
        self.size = size
        self.views = torch.randn(POOL, views, 3, rows, columns)
        self.simclr = torch.randn(POOL, 2, 3, rows, columns) if experiment.ss else None

    def __len__(self) -> int:
        return self.size

    def described(self, index: int) -> list[TextPicture]:
        """No pictures: none was annotated."""
        return []

    def __getitem__(self, key: SampleKey) -> Sample:
        _, index = key
        simclr = None if self.simclr is None else self.simclr[index % POOL]
        return Sample(key, self.views[index % POOL], simclr, CAPTION, index // 2)


class DrawnTokens(Tokenizer):
    """Random ids in place of a vocabulary that is not on this machine: AltCLIP's."""

    pad_id = 1

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def __call__(self, texts: str | list[str], context_length: int = 77) -> Tensor:
        rows = 1 if isinstance(texts, str) else len(texts)
        tokens = torch.full((rows, context_length), self.pad_id)
        tokens[:, :64] = torch.randint(4, self.vocab_size, tokens[:, :64].shape)
        return tokens

    def lengths(self, tokens: Tensor) -> Tensor:
        return (tokens != self.pad_id).sum(dim=1)


class DrawnTextTask(TextTask):
    """Text-to-image search on drawn pairs, as many as `steps` batches take."""

    def __init__(
        self, config: options.Config, processes: Processes, precision: Precision, steps: int = 1
    ) -> None:
        Task.__init__(self, config, processes, precision)
        self.samples = steps * (config.data.global_batch_size or config.data.batch_size)
        self.tokenizer = self._tokenizer()

    def _tokenizer(self) -> Tokenizer:
        return build_tokenizer(self.config)

    def build_model(
        self, checkpoint: Checkpoint | None = None, for_training: bool = True
    ) -> TBPSCLIP:
        return new_model(self.config, None, num_identities=self.samples)

    def training_samples(self) -> list[TrainingSample]:
        return [TrainingSample("", ())] * self.samples

    @cached_property
    def _training_set(self) -> DrawnPairs:  # type: ignore[override]
        return DrawnPairs(self.config, self.samples)

    @cached_property
    def _reader(self) -> PictureReader:
        return PictureReader(self.config.data, [])

    def draw_batch(self, model: TBPSCLIP, stage: StageSettings) -> Batch:
        """A batch of a stage, on the CPU."""
        loader = self.plan_stage(stage, model).loader
        loader.start(0)
        return next(iter(loader)).to(torch.device("cpu"))


class DrawnAltCLIPTask(DrawnTextTask):
    """The same on AltCLIP, of full size unless the recipe's towers are small."""

    @property
    def _is_small(self) -> bool:
        return self.config.model.vision.width < 768

    def _tokenizer(self) -> Tokenizer:
        return DrawnTokens(300 if self._is_small else 250_002)

    def build_model(
        self, checkpoint: Checkpoint | None = None, for_training: bool = True
    ) -> TBPSCLIP:
        config, size = self.config, self.config.data.image_size
        if self._is_small:
            vision = VisionShape(32, 2, 2, patch_size=8, stride=8, image_size=size)
            text = AltTextShape(32, 2, 2, context_length=77, vocab_size=300, transformed_width=16)
        else:
            vision = VisionShape(1024, 24, 16, patch_size=14, stride=14, image_size=size)
            text = AltTextShape(1024, 24, 16, context_length=512, vocab_size=250_002)
        checkpointing = config.model.gradient_checkpointing
        clip = AltCLIP(vision, text, config.model.embed_dim, gradient_checkpointing=checkpointing)
        return build_tbps_clip(config, clip, num_identities=0)


class DrawnReIDTask(ReIDTask):
    """Re-identification on noise, with the identities of Market-1501."""

    def __init__(self, config: options.Config, processes: Processes, precision: Precision) -> None:
        Task.__init__(self, config, processes, precision)
        pictures = [ReIDPicture("", i // 4, i % CAMERAS, 0) for i in range(4 * IDENTITIES)]
        self.data = ReIDData(ReIDTraining(pictures, IDENTITIES, CAMERAS, 1, []), {})
        self.counts = TrainingCounts(IDENTITIES, CAMERAS, 1)

    def plan_stage(self, stage: StageSettings, model: CLIPReID) -> StagePlan:
        plan = super().plan_stage(stage, model)
        # Its pictures would be encoded first, and there are none.
        return replace(plan, begin=lambda: None) if stage.learns == "prompts" else plan

    def draw_batch(self, model: CLIPReID, stage: StageSettings) -> Batch:
        """A batch of a stage, on the CPU."""
        size = self.config.data.global_batch_size or self.config.data.batch_size
        ids, zeros = torch.arange(size) // 4 % IDENTITIES, torch.zeros(size, dtype=torch.long)
        if stage.learns == "prompts":
            return PromptBatch(torch.randn(size, self.config.model.embed_dim), ids)
        return ReIDBatch(torch.randn(size, 3, *self.config.data.image_size), ids, zeros, zeros)


class DrawnBothTask(BothTask):
    """Both tasks on drawn pairs and on noise in place of pictures, as many as pairs."""

    text: DrawnTextTask
    reid: DrawnReIDTask

    def __init__(self, config: options.Config, processes: Processes, precision: Precision) -> None:
        Task.__init__(self, config, processes, precision)
        self.text = DrawnTextTask(config, processes, precision)
        self.reid = DrawnReIDTask(config, processes, precision)

    def build_model(
        self, checkpoint: Checkpoint | None = None, for_training: bool = True
    ) -> JointCLIP:
        return new_joint_model(self.config, None, self.reid.counts, self.text.samples)

    def draw_batch(self, model: JointCLIP, stage: StageSettings) -> Batch:
        """A batch of a stage, on the CPU."""
        pairs = self.text.draw_batch(model, stage)
        pictures = self.reid.draw_batch(model.reid, stage)
        assert isinstance(pairs, TextBatch)
        assert isinstance(pictures, ReIDBatch)
        return JointBatch(pairs, pictures)
