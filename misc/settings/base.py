"""The base class of all sections of a configuration, and the types of their values."""

from dataclasses import dataclass
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


def _refuse_repetition(names: tuple[str, ...]) -> tuple[str, ...]:
    if len({*names}) < len(names):
        raise ValueError(f"{', '.join(names)}: give each once")
    return names


Towers = Annotated[tuple[Literal["image", "text"], ...], AfterValidator(_refuse_repetition)]
