"""The section of a configuration that describes image re-identification."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from misc.settings.base import BatchSize, BelowOne, Count, NonNegative, Positive, Section, Text
from misc.settings.loss_sections import ReIDLossSwitches


class ReIDDatasetSettings(Section):
    """A further dataset of image re-identification."""

    dataset: Text
    root: Text


class ReIDSettings(ReIDLossSwitches):
    """Data and method of image re-identification."""

    dataset: Text
    root: Text | None
    train_sets: tuple[ReIDDatasetSettings, ...]
    test_sets: tuple[ReIDDatasetSettings, ...]
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.3  # absent from older runs' config.yaml
    camera_pattern: Text | None = None  # likewise
    global_batch_size: BatchSize | None = None  # absent from older runs' config.yaml
    images_per_identity: Count
    noun: Literal["person", "vehicle"]
    sie: Literal["none", "camera", "view", "both"]
    sie_coe: Positive
    unlabelled_views: Literal["keep", "drop"] = "keep"  # absent from older runs' config.yaml
    smoothing: BelowOne
    margin: NonNegative | None
    after_necks: bool
    flip: bool

    @field_validator("camera_pattern")
    @classmethod
    def _compile_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
        return pattern
