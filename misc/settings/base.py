"""The base class of all sections of a configuration, and the types of their values."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
# Bounds of what fits on no machine: what goes beyond them was mistyped.
Pixels = Annotated[int, Field(ge=1, le=4096)]
Width = Annotated[int, Field(ge=1, le=2**14)]  # channels
Depth = Annotated[int, Field(ge=1, le=256)]  # blocks
Workers = Annotated[int, Field(ge=0, le=256)]
BatchSize = Annotated[int, Field(ge=1, le=2**20)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]

LONGEST_WORD = 200  # characters that are compared with known ones


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
        ValueError: it is not; all names are given, and the one that is much like it.
    """
    if name not in registry:
        near = difflib.get_close_matches(name[:LONGEST_WORD], registry, n=1)
        known = ", ".join(registry)
        hint = f"choose one of {known}" if known else "none is registered"
        hint = f"did you mean {near[0]}? ({known})" if near else hint
        raise ValueError(f"unknown name {shorten(repr(name))}; {hint}")
    return name


def shorten(text: str, longest: int = 80) -> str:
    """A text of about `longest` characters at most, its middle left out."""
    return text if len(text) <= longest else f"{text[: longest - 25]} ... {text[-20:]}"


def one_of(registry: Mapping[str, object]) -> AfterValidator:
    """A check that a name is registered when the configuration is read."""
    return AfterValidator(partial(require, registry))


def refuse_repetition(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse names of which one comes twice."""
    if len({*names}) < len(names):
        raise ValueError(f"{', '.join(names)}: give each once")
    return names


Towers = Annotated[tuple[Literal["image", "text"], ...], AfterValidator(refuse_repetition)]
