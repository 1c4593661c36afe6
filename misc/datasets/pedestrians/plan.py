"""The plan of a synthetic dataset: everything that decides what is written, and nothing else."""

import difflib
from dataclasses import dataclass

from errors import InputError
from misc.datasets.pedestrians.languages import LANGUAGES
from misc.datasets.pedestrians.layouts import LAYOUTS, Layout

# Raise it when the same arguments begin to give other files: what lies on disk is compared with it.
VERSION = 1


@dataclass(frozen=True)
class Plan:
    """`identities` by split; `images` of an identity and `height` in pixels are inclusive ranges.

    Raises:
        InputError: for values that make no dataset.
    """

    layout: str
    identities: dict[str, int]
    images: tuple[int, int]
    seed: int
    height: tuple[int, int]
    difficulty: float
    languages: tuple[str, ...] = ("en",)
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            near = difflib.get_close_matches(self.layout.lower(), LAYOUTS, n=1, cutoff=0.0)[0]
            known = ", ".join(LAYOUTS)
            raise InputError(f"unknown layout {self.layout!r}: did you mean {near}? ({known})")
        self._check_identities()
        if not 1 <= self.images[0] <= self.images[1]:
            raise InputError(f"images per identity {self.images}: give a range from 1 upwards.")
        if not 32 <= self.height[0] <= self.height[1] <= 1024:
            raise InputError(f"picture height {self.height}: give a range within 32 and 1024.")
        if not 0.0 <= self.difficulty <= 1.0:
            raise InputError(f"difficulty {self.difficulty}: give a number from 0 to 1.")
        if self.seed < 0:
            raise InputError(f"seed {self.seed}: give zero or more.")
        if not self.languages or sorted(self.languages) != sorted({*self.languages} & {*LANGUAGES}):
            asked, known = " ".join(self.languages), ", ".join(LANGUAGES)
            raise InputError(f"languages {asked!r}: give one or more of {known}, each once.")

    def _check_identities(self) -> None:
        splits = self.published.splits
        for split, number in self.identities.items():
            if number < 0:
                raise InputError(f"{number} identities for {split}: give zero or more.")
            if split not in splits and number > 0:
                raise InputError(f"{self.layout} has no split {split!r}: use {', '.join(splits)}.")
        if sum(self.identities.values()) == 0:
            raise InputError("zero identities: give at least one split some identities.")

    @property
    def published(self) -> Layout:
        return LAYOUTS[self.layout]

    def owners(self) -> list[tuple[str, int]]:
        """(split, id) of every identity, counted through the splits in their order."""
        layout = self.published
        splits = [split for split in layout.splits for _ in range(self.identities.get(split, 0))]
        return [(split, layout.first_id + number) for number, split in enumerate(splits)]
