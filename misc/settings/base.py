"""The base class of all sections of a configuration, and the types of their values."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A frozen, strictly typed section: finite numbers, no undeclared key."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class PartOf:
    """An annotation of a mapping whose keys are some of those of a section."""

    section: type[Section]


def require(registry: Mapping[str, object], name: str) -> str:
    """The name, if it is registered.

    Raises:
        ValueError: it is not; the nearest name is given, if there is any.
    """
    if name not in registry:
        near = difflib.get_close_matches(name, registry, n=1, cutoff=0.0)
        hint = f"did you mean {near[0]}? ({', '.join(registry)})" if near else "none is registered"
        raise ValueError(f"unknown name {name!r}; {hint}")
    return name


def one_of(registry: Mapping[str, object]) -> AfterValidator:
    """A check that a name is registered when the configuration is read."""
    return AfterValidator(partial(require, registry))


def _refuse_repetition(names: tuple[str, ...]) -> tuple[str, ...]:
    if len({*names}) < len(names):
        raise ValueError(f"{', '.join(names)}: give each once")
    return names


Towers = Annotated[tuple[Literal["image", "text"], ...], AfterValidator(_refuse_repetition)]
