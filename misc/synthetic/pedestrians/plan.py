"""Arguments of a synthetic text-to-person dataset."""

from dataclasses import dataclass
from typing import ClassVar

from errors import InputError
from misc.synthetic.drawing_plan import DrawingPlan
from misc.synthetic.pedestrians.languages import LANGUAGES
from misc.synthetic.pedestrians.layouts import LAYOUTS, Layout

# Increase it when the same arguments give different files; existing datasets are checked for it.
VERSION = 1


@dataclass(frozen=True)
class Plan(DrawingPlan):
    """Arguments of a dataset; `languages` are those of the captions."""

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
