"""The settings of a sweep, read from its YAML file."""

import difflib
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, JsonValue, Tag, ValidationError, model_validator
from pydantic_core import ErrorDetails

from errors import InputError
from misc.settings.base import LONGEST_WORD, Count, Section, Text, shorten
from misc.settings.recipes import read_layer
from misc.settings.wording import spell, wrong_value

RANGE, CHOICES = "range", "choices"
TRIALS = 20
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Range(Section):
    """The numbers between two ends, both included.

    Args:
        log: draw the logarithm evenly.
        step: from `low` on; None: whole numbers for keys that take these, else any number.
    """

    low: int | float
    high: int | float
    log: bool = False
    step: Annotated[int | float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _rise(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0, not {self.low:g}")
        if self.log and self.step is not None:
            raise ValueError("log and step do not go together, give one of them")
        low, high = Decimal(str(self.low)), Decimal(str(self.high))  # 0.1 + 0.2 is 0.3
        if self.step is not None and low + Decimal(str(self.step)) > high:
            raise ValueError(f"step {self.step:g} leads from low {low} beyond high {high}")
        return self


def _kind(values: object) -> str | None:
    if isinstance(values, Range | dict):
        return RANGE
    return CHOICES if isinstance(values, list | tuple) else None


Choices = Annotated[tuple[JsonValue, ...], Field(min_length=1)]
Values = Annotated[
    Annotated[Range, Tag(RANGE)] | Annotated[Choices, Tag(CHOICES)],
    Discriminator(
        _kind,
        custom_error_type="values",
        custom_error_message="Input should be choices in [ ], or a range {{low: ..., high: ...}}",
    ),
]


class SweepSettings(Section):
    """The settings of a sweep.

    Args:
        recipe: the configuration that the keys are laid over, as `--config` takes it.
        trials: the number of samples of the keys, those that fail included.
        metric: `SPLIT/METRIC`; None: the metric that selects the best checkpoint of a run.
        seed: of the samples.
        prune: the rule by which a trial is stopped between two epochs.
        keys: of the configuration, with the values that they may take.
        seeds: each trial is a run with each of these, and its value is their mean.
        processes: of each run.
    """

    recipe: Text | None = None
    trials: Count | None = None
    metric: Annotated[str, Field(pattern=r"^\w+/\w+$")] | None = None
    direction: Literal["maximize", "minimize"] = "maximize"
    seed: Seed = 0
    prune: Literal["none", "median", "hyperband"] = "median"
    keys: dict[str, Values] = Field(default_factory=dict)
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] | None = None
    processes: Count = 1

    @property
    def num_trials(self) -> int:
        """The number of trials: of a grid, at most that of its combinations; without keys, one."""
        asked = self.trials or TRIALS
        if not self.is_grid:
            return asked
        return min(asked, math.prod(len(v) for v in self.keys.values() if isinstance(v, tuple)))

    @property
    def is_grid(self) -> bool:
        """Whether all keys have choices."""
        return all(isinstance(values, tuple) for values in self.keys.values())

    @model_validator(mode="after")
    def _vary_something(self) -> Self:
        seeds = self.seeds or ()
        if not self.keys and not seeds:
            raise ValueError("neither keys nor seeds are given: give what the trials vary")
        if not self.keys and self.trials is not None:
            raise ValueError("trials are samples of keys, and no keys are given: leave trials out")
        if len({*seeds}) < len(seeds):
            raise ValueError(f"seeds: {', '.join(map(str, seeds))}: give each seed once")
        if "misc.seed" in self.keys:
            raise ValueError("keys: misc.seed is varied by `seeds: [0, 1, 2]`")
        return self


def read_sweep(file: Path) -> SweepSettings:
    """The settings of a sweep.

    Raises:
        InputError: the file cannot be read, or one line for each mistake in it.
    """
    tree, source = read_layer(file, "--sweep", "sweep")
    try:
        return SweepSettings.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        sentences = [f"{source}: {_sentence(problem)}" for problem in error.errors()]
        raise InputError("\n".join(sentences)) from None


def _sentence(problem: ErrorDetails) -> str:
    location = tuple(part for part in problem["loc"] if part not in (RANGE, CHOICES))
    if problem["type"] == "extra_forbidden":
        return _unknown_key(tuple(map(str, location)))
    if problem["type"] == "missing":
        return f"{spell(location)} is missing"
    if problem["type"] == "string_pattern_mismatch":
        return f"metric is {json.dumps(problem['input'])}, expected SPLIT/METRIC, as in val/R1"
    if not location:  # of several keys
        return str(problem.get("ctx", {}).get("error", problem["msg"]))
    return wrong_value({**problem, "loc": location})


def _unknown_key(location: tuple[str, ...]) -> str:
    known = list((Range if len(location) > 1 else SweepSettings).model_fields)
    key = shorten(spell(location))
    near = difflib.get_close_matches(location[-1][:LONGEST_WORD], known, n=1)
    if near:
        return f"there is no key {key}, did you mean {spell((*location[:-1], near[0]))}?"
    if len(location) == 1 and "." in key:
        return f"there is no key {key}: keys of the configuration are given below `keys:`"
    return (
        f"there is no key {key}: a {'range' if location[:-1] else 'sweep'} has {', '.join(known)}"
    )
