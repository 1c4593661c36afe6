"""The section of a configuration that says what a run records."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from misc.settings.base import Count, Natural, Section, Text, refuse_repetition

Trackers = Annotated[
    tuple[Literal["tensorboard", "wandb", "trackio"], ...], AfterValidator(refuse_repetition)
]


class LogSettings(Section):
    """Intervals, in steps, and the places where a run is recorded beside its folder."""

    print_period: Count
    save_period: Natural
    max_bad_steps: Count = 10  # absent from older runs' config.yaml, as are those that follow
    to: Trackers = ("tensorboard",)
    project: Text = "clip-person-search"
    figures: bool = True
