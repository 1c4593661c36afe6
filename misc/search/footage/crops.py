"""Crops of people: the boxes in a video, cut out and chosen."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from PIL import Image
from tqdm import tqdm

from misc.datasets.counts import counted
from misc.runtime.picture_writing import write_picture
from misc.search.footage.box import Box, Region
from misc.search.footage.mot import MOTBoxes
from misc.search.footage.sharpness import sharpness
from misc.search.footage.video import Frame, Video

QUALITY = 95  # of the JPEG files


class Detector(Protocol):
    """A finder of people."""

    def detect(self, picture: Image.Image) -> list[Box]:
        """The people in an RGB picture, with scores."""
        ...


@dataclass(frozen=True)
class Choice:
    """The crops that are kept.

    Args:
        every: seconds between the frames that are looked at; 0 for all frames.
        margin: added on each side of a box, as a part of its width and height.
        min_height: of a crop, in pixels.
        threshold: least score of a box that has one.
        min_sharpness: variance of the Laplacian.
        per_track: crops that are kept of a track, by sharpness times height; None for all.
    """

    every: Fraction = Fraction(1)
    margin: float = 0.02
    min_height: int = 48
    threshold: float | None = None
    min_sharpness: float = 0.0
    per_track: int | None = None


@dataclass(frozen=True)
class Crop:
    """A picture of a person, written to `file`."""

    file: Path
    frame: int
    seconds: Fraction
    box: Box
    region: Region
    quality: float


@dataclass
class Cut:
    """All crops of a video, and numbers for the report."""

    crops: list[Crop] = field(default_factory=list)
    num_frames: int = 0
    num_boxes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        reasons = ", ".join(f"{number} {reason}" for reason, number in self.dropped.items())
        return (
            f"{counted(self.num_frames, 'frame')} read, {counted(self.num_boxes, 'box')}, "
            f"{counted(len(self.crops), 'crop')} kept"
            + (f"; dropped: {reasons}" if reasons else "")
        )


def cut_crops(video: Video, source: MOTBoxes | Detector, choice: Choice, folder: Path) -> Cut:
    """Write the crops of a video into a folder.

    Args:
        source: of the boxes.

    Raises:
        InputError: the video cannot be decoded, or the boxes are not of this video.
    """
    if isinstance(source, MOTBoxes):
        source.check_size(video.width, video.height)
    cut = Cut()
    for frame, boxes in _due(video, source, choice.every, cut):
        for number, box in enumerate(boxes):
            cut.num_boxes += 1
            name = f"{frame.number:06d}_{f'n{number}' if box.track is None else box.track}.jpg"
            crop = _cut_box(frame, box, choice, folder / name)
            if isinstance(crop, str):
                cut.dropped[crop] += 1
            else:
                cut.crops.append(crop)
    if isinstance(source, MOTBoxes):
        source.check_length(cut.num_frames)
    if choice.per_track is not None:
        keep_best(cut, choice.per_track)
    return cut


def _due(
    video: Video, source: MOTBoxes | Detector, every: Fraction, cut: Cut
) -> Iterator[tuple[Frame, list[Box]]]:
    """The first frame with boxes of each interval; the frames read are counted in `cut`."""
    due = Fraction(0)
    # A bar on a terminal only; a file that does not say its length has a bar without an end.
    bar = tqdm(
        video.frames(), video.file.name, video.num_frames or None, unit=" frames", disable=None
    )
    for frame in bar:
        cut.num_frames += 1
        boxes = _find(source, frame) if frame.seconds >= due else None
        if boxes is not None:
            due = every * (frame.seconds // every + 1) if every else Fraction(0)
            yield frame, boxes


def _find(source: MOTBoxes | Detector, frame: Frame) -> list[Box] | None:
    """The boxes in a frame; None if it need not be looked at."""
    if isinstance(source, MOTBoxes):
        return source.find(frame.number)
    return source.detect(frame.picture)


def _cut_box(frame: Frame, box: Box, choice: Choice, file: Path) -> Crop | str:
    """Write one crop, or return the reason why there is none."""
    if choice.threshold is not None and box.score is not None and box.score < choice.threshold:
        return f"with a score below {choice.threshold:g}"
    region = box.enlarged(choice.margin).region(*frame.picture.size)
    left, top, right, bottom = region
    if right <= left or bottom - top < choice.min_height:
        return f"lower than {counted(choice.min_height, 'pixel')}"
    person = frame.picture.crop(region)
    sharp = sharpness(person)
    if sharp < choice.min_sharpness:
        return f"with a sharpness below {choice.min_sharpness:g}"
    write_picture(file, person, quality=QUALITY)
    return Crop(file, frame.number, frame.seconds, box, region, sharp * person.height)


def keep_best(cut: Cut, number: int) -> None:
    """Delete all but the best crops of each track."""
    tracks: dict[int, list[Crop]] = defaultdict(list)
    for crop in cut.crops:
        if crop.box.track is not None:
            tracks[crop.box.track].append(crop)
    beyond = {
        crop.file
        for crops in tracks.values()
        for crop in sorted(crops, key=lambda crop: crop.quality, reverse=True)[number:]
    }
    for file in beyond:
        file.unlink()
    cut.crops = [crop for crop in cut.crops if crop.file not in beyond]
    if beyond:
        cut.dropped[f"beyond the best {number} of a track"] = len(beyond)
