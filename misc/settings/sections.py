"""The typed sections of a configuration, and `Config`, which holds them.

`config/config.yaml` is the only place of the default values; the classes say which keys exist and
what they may hold.
"""

import json
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from misc.data.augmentations import IMAGE_AUGMENTATIONS, TEXT_OPERATIONS
from misc.settings.base import (
    BatchSize,
    BelowOne,
    Count,
    Depth,
    Natural,
    NonNegative,
    PartOf,
    Pixels,
    Positive,
    Probability,
    Section,
    Text,
    Width,
    Workers,
    one_of,
    require,
)
from misc.settings.log_section import LogSettings
from misc.settings.loss_sections import TextLossSwitches, switches
from misc.settings.model_sections import (
    AdapterSettings,
    LoraSettings,
    ModelSettings,
    PromptSettings,
)
from misc.settings.reid_sections import ReIDSettings
from model.trees import Tree
from model.tuning.ways import WAYS


class TextDatasetSettings(Section):
    """A further dataset to train on."""

    name: Text
    annotation_file: Text
    image_root: Text


class TextTestSetSettings(TextDatasetSettings):
    """A further dataset to test on, whose captions may be in other languages."""

    languages: tuple[Text, ...] | None = None


class NoiseSettings(Section):
    """Captions of the training set that are given to other pictures."""

    rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    file: Text | None = None

    @model_validator(mode="after")
    def _take_one(self) -> Self:
        if self.rate and self.file is not None:
            raise ValueError("rate and file both say which captions are exchanged: give one")
        return self


def _square(size: object) -> object:
    """One number is a square; YAML's lists become tuples."""
    if isinstance(size, list):
        return tuple(size)
    return (size, size) if type(size) is int else size


class DataSettings(Section):
    """Datasets of images with captions, and how images of any dataset are read."""

    annotation_file: Text | None
    image_root: Text | None
    train_sets: tuple[TextDatasetSettings, ...]
    test_sets: tuple[TextTestSetSettings, ...]
    languages: tuple[Text, ...]
    image_size: Annotated[tuple[Pixels, Pixels], BeforeValidator(_square)]  # rows, columns
    batch_size: BatchSize
    global_batch_size: BatchSize | None
    test_batch_size: BatchSize
    test_resampling: Literal["bicubic", "bilinear"]
    num_workers: Workers
    normalize: Literal["imagenet", "clip", "half", "none"]
    on_bad_image: Literal["error", "skip"] = "error"  # absent from older runs' config.yaml
    allow_outside: bool = False  # likewise, as are those that follow
    augment_on: Literal["cpu", "device"] = "cpu"
    cache: Literal["none", "memory", "disk"] = "none"
    cache_folder: Text = "cache"
    cache_gib: Positive = 16.0
    noise: NoiseSettings = Field(default_factory=NoiseSettings)

    @field_validator("languages")
    @classmethod
    def _refuse_repetition(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        if len({*languages}) < len(languages):
            raise ValueError(f"{', '.join(languages)}: give each language once")
        return languages


class MixtureSettings(Section):
    """The fit of the mixture that divides the training set."""

    max_iter: Count = 10
    tol: Positive = 1e-2
    reg: Positive = 5e-4


class SelectionWeights(Section):
    """The weight of each task in the score that selects a model of both."""

    text: NonNegative = 1.0
    reid: NonNegative = 1.0

    @model_validator(mode="after")
    def _weigh_something(self) -> Self:
        if not self.text + self.reid:
            raise ValueError("both weights are 0: give one of them more")
        return self


class ExperimentSettings(TextLossSwitches):
    """The method of text-to-image search: losses, augmentation, precision, model selection."""

    losses: dict[str, NonNegative] = Field(default_factory=dict)  # as clean_captions below
    ritc_eps: Positive
    tal_temperature: Positive = 0.015  # as clean_captions below
    tal_margin: NonNegative = 0.1
    citc_lambda1: NonNegative
    citc_lambda2: NonNegative
    simclr_mlp: Annotated[tuple[Width, ...], Field(min_length=2)]
    simclr_temperature: Positive
    sigmoid_positives: Literal["identity", "pair"] = "identity"  # as clean_captions below
    cmt_depth: Depth
    mlm_text: Literal["masked", "clean"] = "masked"  # absent from older runs' config.yaml
    soft_pass: Literal["reuse", "fresh"]
    mvs_image: bool
    mixgen: bool
    mixgen_type: Literal["cat", "ori"]
    mixgen_p: Probability
    mixgen_ratio: Annotated[float, Field(ge=0, le=0.5)]
    mixgen_rows: Count
    augment_image: bool
    image_augment: Annotated[str, one_of(IMAGE_AUGMENTATIONS)]
    clean_captions: bool = True  # likewise
    back_trans: bool
    backtrans_p: Probability
    text_augment: Annotated[str, one_of(TEXT_OPERATIONS)]
    eda_alpha: Probability
    token_change: Probability = 0.0  # absent from older runs' config.yaml, as are those that follow
    division: Literal["none", "tal", "trl", "itc", "sdm", "truth"] = "none"
    mixture: MixtureSettings | None = None
    text_length: Annotated[int, Field(ge=3, le=512)]
    dropout: BelowOne
    use_altclip_processor: bool
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    select_on: Literal["val", "test", "last"]
    selection_weights: SelectionWeights = Field(default_factory=SelectionWeights)

    def loss_weights(self) -> dict[str, float]:
        """The weight of each loss that is switched on, or named in `losses`."""
        return {**super().loss_weights(), **self.losses}

    @field_validator("losses")
    @classmethod
    def _refuseswitches(cls, losses: dict[str, float]) -> dict[str, float]:
        for name in losses:
            if name in switches(TextLossSwitches):
                raise ValueError(
                    f"{name} has a switch of its own: set experiment.{name} and "
                    f"experiment.{name}_ratio"
                )
        return losses


class ScheduleSettings(Section):
    """The optimizer and the learning rate over the epochs."""

    optimizer: Literal["adamw", "adam"]
    curve: Literal["cosine", "irra_cosine", "epoch_cosine", "epoch_steps"]
    lr: Positive
    lr_start: NonNegative
    lr_end: NonNegative
    epoch: Count
    epoch_warmup: Natural
    warmup_factor: BelowOne
    weight_decay: NonNegative
    betas: tuple[BelowOne, BelowOne]
    eps: Positive
    decayed: Literal["matrices", "weights", "all"]
    bias_factor: Positive
    ratio_factor: Positive
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    clip_grad: Positive | None
    milestones: tuple[Count, ...]
    gamma: Positive

    @field_validator("milestones")
    @classmethod
    def _rise(cls, milestones: tuple[int, ...]) -> tuple[int, ...]:
        if list(milestones) != sorted({*milestones}):
            raise ValueError(f"{list(milestones)} do not rise: sort them, and give each epoch once")
        return milestones

    @model_validator(mode="after")
    def _end_warmup(self) -> Self:
        if self.epoch_warmup > self.epoch:
            raise ValueError(f"epoch_warmup {self.epoch_warmup} is more than epoch {self.epoch}")
        return self


class StageSettings(Section):
    """A stage of training: overrides of `schedule` and `data`, additions to `model.freeze`."""

    name: Text
    skip: bool = False
    learns: Literal["model", "prompts"] = "model"
    global_batch_size: BatchSize | None = None
    schedule: Annotated[Tree, PartOf(ScheduleSettings)] = Field(default_factory=dict)
    freeze: tuple[Text, ...] = ()


class RerankSettings(Section):
    """k-reciprocal re-ranking."""

    k1: Count
    k2: Count
    weight: Probability


class EvaluationSettings(Section):
    """When and how a split is evaluated."""

    period: Count
    chunk: Count
    ranked_lists: Natural
    # absent from older runs' config.yaml
    false_alarms: Annotated[float, Field(gt=0, lt=1)] | None = 0.01
    rerank: RerankSettings | None


class DistributedSettings(Section):
    """Communication between processes."""

    backend: Literal["auto", "nccl", "gloo"]
    # absent from older runs' config.yaml; a year is as good as no limit
    timeout_minutes: Annotated[float, Field(gt=0, le=525_600)] = 10


class MiscSettings(Section):
    """Settings that belong nowhere else."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]


class Config(Section):
    """The resolved configuration: one attribute per section of `config/config.yaml`."""

    task: Literal["text_to_image", "image_to_image", "both"]
    data: DataSettings
    model: ModelSettings
    prompts: PromptSettings
    adapters: AdapterSettings
    lora: LoraSettings
    tuning: dict[str, Tree] = Field(default_factory=dict)  # absent from older runs' config.yaml
    experiment: ExperimentSettings
    reid: ReIDSettings
    stages: tuple[StageSettings, ...]
    schedule: ScheduleSettings
    evaluation: EvaluationSettings
    log: LogSettings
    distributed: DistributedSettings
    misc: MiscSettings

    @property
    def class_tokens(self) -> int:
        """Class tokens of the image tower."""
        return 2 if self.task == "both" and self.model.class_tokens == "routed" else 1

    @property
    def learns_prompts(self) -> bool:
        """Whether a stage learns the prompts of the identities."""
        return any(stage.learns == "prompts" and not stage.skip for stage in self.stages)

    @property
    def tunes(self) -> tuple[str, ...]:
        """The sections whose modules are added to a frozen backbone."""
        added = {
            "prompts": self.prompts.n_ctx,
            "adapters": self.adapters.towers,
            "lora": self.lora.rank,
            "tuning": self.tuning,
        }
        return tuple(name for name, value in added.items() if value)

    @field_validator("tuning")
    @classmethod
    def _know_ways(cls, tuning: dict[str, Tree]) -> dict[str, Tree]:
        for name in tuning:
            require(WAYS, name)
        return tuning

    @field_validator("stages")
    @classmethod
    def _name_stages_apart(cls, stages: tuple[StageSettings, ...]) -> tuple[StageSettings, ...]:
        if all(stage.skip for stage in stages):
            raise ValueError("no stage is left to train, add one that is not skipped")
        if len({stage.name for stage in stages}) < len(stages):
            raise ValueError("two stages have the same name, give each its own")
        return stages

    def stage_schedule(self, stage: StageSettings) -> ScheduleSettings:
        """The schedule of a stage: the configuration's, with the stage's own keys laid over it."""
        tree = self.schedule.model_dump(mode="json") | stage.schedule
        return ScheduleSettings.model_validate_json(json.dumps(tree))
