"""A box around a person in a frame."""

import math
from dataclasses import dataclass, replace

Region = tuple[int, int, int, int]


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of its frame.

    Args:
        score: of the detector that found it; None if the box is annotated.
        track: number of the person within the video; None for a single detection.
    """

    left: float
    top: float
    width: float
    height: float
    score: float | None = None
    track: int | None = None

    def overlaps(self, width: int, height: int) -> bool:
        """Whether a part of the box is in a frame of this size."""
        is_across = self.left < width and self.left + self.width > 0
        return is_across and self.top < height and self.top + self.height > 0

    def enlarged(self, margin: float) -> "Box":
        """The box with `margin` times its width and height added on each side."""
        across, down = margin * self.width, margin * self.height
        return replace(
            self,
            left=self.left - across,
            top=self.top - down,
            width=self.width + 2 * across,
            height=self.height + 2 * down,
        )

    def region(self, width: int, height: int) -> Region:
        """Left, top, right and bottom in whole pixels, within a frame of this size."""
        return (
            max(0, math.floor(self.left)),
            max(0, math.floor(self.top)),
            min(width, math.ceil(self.left + self.width)),
            min(height, math.ceil(self.top + self.height)),
        )
