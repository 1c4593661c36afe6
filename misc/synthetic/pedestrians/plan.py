"""The plan of a dataset of described pedestrians."""

from dataclasses import dataclass
from typing import ClassVar

from errors import InputError
from misc.synthetic.drawing_plan import DrawingPlan
from misc.synthetic.pedestrians.languages import LANGUAGES
from misc.synthetic.pedestrians.layouts import LAYOUTS, Layout

# Raise it when the same arguments begin to give other files: what lies on disk is compared with it.
VERSION = 1


@dataclass(frozen=True)
class Plan(DrawingPlan):
    """`languages` are those of the captions."""

    layouts: ClassVar[dict[str, Layout]] = LAYOUTS

    languages: tuple[str, ...] = ("en",)
    version: int = VERSION

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.languages or sorted(self.languages) != sorted({*self.languages} & {*LANGUAGES}):
            asked, known = " ".join(self.languages), ", ".join(LANGUAGES)
            raise InputError(f"languages {asked!r}: give one or more of {known}, each once.")

    @property
    def published(self) -> Layout:
        return LAYOUTS[self.layout]
