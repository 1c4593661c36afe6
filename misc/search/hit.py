"""A hit of a search."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hit:
    """A picture that a search found.

    Args:
        path: of the file.
        score: similarity to the query, as of `Parts.query`.
        matched: whether the score reaches the threshold; None if the index is not calibrated for
            such a query.
        camera, time, video, frame, seconds, box, track: as far as they are known of the picture;
            `box` is left, top, width and height in pixels of the frame.
    """

    path: str
    score: float
    matched: bool | None
    camera: int | None = None
    time: str | None = None
    video: str | None = None
    frame: int | None = None
    seconds: float | None = None
    box: tuple[float, float, float, float] | None = None
    track: int | None = None
