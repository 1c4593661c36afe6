"""The plan of a drawn dataset: everything that decides what is written, and nothing else."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from errors import InputError


@dataclass(frozen=True)
class DiskLayout:
    """A dataset's folder, its splits, and how many cameras there are; ids start at `first_id`."""

    folder: str
    splits: tuple[str, ...]
    first_id: int
    cameras: int


@dataclass(frozen=True)
class DrawingPlan:
    """`identities` by split; `images` of an identity and `height` in pixels are inclusive ranges.

    Raises:
        InputError: for values that make no dataset.
    """

    layouts: ClassVar[Mapping[str, DiskLayout]]
    fewest_images: ClassVar[int] = 1

    layout: str
    identities: dict[str, int]
    images: tuple[int, int]
    seed: int
    height: tuple[int, int]
    difficulty: float

    def __post_init__(self) -> None:
        check_layout(self.layout, self.layouts)
        self._check_identities()
        if not self.fewest_images <= self.images[0] <= self.images[1]:
            fewest = self.fewest_images
            raise InputError(
                f"images per identity {self.images}: give a range from {fewest} upwards."
            )
        if not 32 <= self.height[0] <= self.height[1] <= 1024:
            raise InputError(f"picture height {self.height}: give a range within 32 and 1024.")
        if not 0.0 <= self.difficulty <= 1.0:
            raise InputError(f"difficulty {self.difficulty}: give a number from 0 to 1.")
        if self.seed < 0:
            raise InputError(f"seed {self.seed}: give zero or more.")

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
    def published(self) -> DiskLayout:
        return self.layouts[self.layout]

    def owners(self) -> list[tuple[str, int]]:
        """(split, id) of every identity, counted through the splits in their order."""
        layout = self.published
        splits = [split for split in layout.splits for _ in range(self.identities.get(split, 0))]
        return [(split, layout.first_id + number) for number, split in enumerate(splits)]


def check_layout(layout: str, layouts: Iterable[str]) -> None:
    """
    Raises:
        InputError: if it is none of these.
    """
    layouts = list(layouts)
    if layout not in layouts:
        near = difflib.get_close_matches(layout.lower(), layouts, n=1, cutoff=0.0)[0]
        known = ", ".join(layouts)
        raise InputError(f"unknown layout {layout!r}: did you mean {near}? ({known})")
