"""Arguments of a synthetic dataset, which determine its files."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from errors import InputError


@dataclass(frozen=True)
class DiskLayout:
    """The folder, splits, first id and number of cameras of a published dataset."""

    folder: str
    splits: tuple[str, ...]
    first_id: int
    cameras: int


@dataclass(frozen=True)
class DrawingPlan:
    """Arguments of any synthetic dataset.

    Args:
        identities: by split.
        images: per identity, an inclusive range.
        height: of images in pixels, an inclusive range.
        difficulty: from 0 to 1.
        skipped: ids left out before those of test: a val split that only other layouts have.

    Raises:
        InputError: a value is out of range.
    """

    layouts: ClassVar[Mapping[str, DiskLayout]]
    fewest_images: ClassVar[int] = 1

    layout: str
    identities: dict[str, int]
    images: tuple[int, int]
    seed: int
    height: tuple[int, int]
    difficulty: float
    skipped: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        check_layout(self.layout, self.layouts)
        self._check_identities()
        if not self.fewest_images <= self.images[0] <= self.images[1]:
            fewest = self.fewest_images
            raise InputError(
                f"images per identity {self.images}: give a range of at least {fewest}."
            )
        if not 32 <= self.height[0] <= self.height[1] <= 1024:
            raise InputError(f"image height {self.height}: give a range between 32 and 1024.")
        if not 0.0 <= self.difficulty <= 1.0:
            raise InputError(f"difficulty {self.difficulty}: give a number from 0 to 1.")
        if self.seed < 0:
            raise InputError(f"seed {self.seed}: give 0 or more.")

    def _check_identities(self) -> None:
        splits = self.published.splits
        for split, number in self.identities.items():
            if number < 0:
                raise InputError(f"{number} identities for {split}: give 0 or more.")
            if split not in splits and number > 0:
                raise InputError(f"{self.layout} has no {split} split: use {', '.join(splits)}.")
        if sum(self.identities.values()) == 0:
            raise InputError("no identities: give at least one to some split.")

    @property
    def published(self) -> DiskLayout:
        return self.layouts[self.layout]

    def owners(self) -> list[tuple[str, int]]:
        """(split, id) of every identity; ids count on from split to split, after those skipped."""
        owners, first = [], self.published.first_id
        for split in self.published.splits:
            first += self.skipped if split == "test" else 0
            number = self.identities.get(split, 0)
            owners += [(split, identity) for identity in range(first, first + number)]
            first += number
        return owners


def check_layout(layout: str, layouts: Iterable[str]) -> None:
    """Check that a layout is known.

    Raises:
        InputError: it is not; the message names the nearest one.
    """
    layouts = list(layouts)
    if layout not in layouts:
        near = difflib.get_close_matches(layout.lower(), layouts, n=1, cutoff=0.0)[0]
        known = ", ".join(layouts)
        raise InputError(f"unknown layout {layout!r}: did you mean {near}? ({known})")
