"""Boxes in the text format of MOTChallenge (Milan et al. 2016, MOT16, arXiv 1603.00831).

A line is `frame,id,left,top,width,height,conf,...`; frames count from 1, and the id of a detection
without a track is -1. In ground truth, which has 9 columns, `conf` is a flag (0: do not consider)
and the next column is the class (1: pedestrian). In detections and the results of trackers, which
have 10, it is a score.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from errors import InputError
from misc.datasets.counts import counted
from misc.search.footage.box import Box

PEDESTRIAN = 1
FORM = "frame,id,left,top,width,height,conf"
BEYOND = 10**15  # of every number; floats up to it tell two tracks apart


@dataclass(frozen=True)
class MOTBoxes:
    """Boxes of a video.

    Args:
        by_frame: line in the file and box, by frame number from 0.
    """

    file: Path
    by_frame: dict[int, list[tuple[int, Box]]]

    def find(self, frame: int) -> list[Box] | None:
        """The boxes of a frame; None if it has none."""
        found = self.by_frame.get(frame)
        return None if found is None else [box for _, box in found]

    def check_size(self, width: int, height: int) -> None:
        """Check that each box is at least partly within frames of this size.

        Raises:
            InputError: one is not.
        """
        for boxes in self.by_frame.values():
            for line, box in boxes:
                if not box.overlaps(width, height):
                    raise InputError(
                        f"{self.file}, line {line}: the box is outside the frame of {width} x "
                        f"{height} pixels; are these the boxes of another video?"
                    )

    def check_length(self, num_frames: int) -> None:
        """Check that a video of so many frames has all frames that have boxes.

        Raises:
            InputError: it does not.
        """
        last = max(self.by_frame, default=0)
        if last >= num_frames:
            line, _ = self.by_frame[last][0]
            raise InputError(
                f"{self.file}, line {line}: frame {last + 1} is beyond the "
                f"{counted(num_frames, 'frame')} of the video; are these the boxes of "
                "another video?"
            )


def read_mot(file: Path) -> MOTBoxes:
    """Read the boxes of people; those that ground truth does not consider are left out.

    Raises:
        InputError: the file cannot be read, or a line is malformed.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"boxes {file} cannot be read ({error}); give a MOTChallenge text file"
        ) from error
    by_frame: dict[int, list[tuple[int, Box]]] = defaultdict(list)
    seen = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            frame, box = _parse(line.split(","))
        except ValueError as error:
            raise InputError(
                f"{file}, line {number}: {error}; write {FORM}, with frames from 1"
            ) from None
        if box is None:
            continue
        if box.track is not None and (frame, box.track) in seen:
            raise InputError(
                f"{file}, line {number}: track {box.track} is in frame {frame + 1} twice; delete "
                "one of the lines"
            )
        seen.add((frame, box.track))
        by_frame[frame].append((number, box))
    return MOTBoxes(file, dict(by_frame))


def _parse(columns: Sequence[str]) -> tuple[int, Box | None]:
    """Frame from 0, and the box unless it is not to be considered.

    Raises:
        ValueError: says what is wrong with the line.
    """
    if len(columns) < 6:
        raise ValueError(counted(len(columns), "column"))
    numbers = [float(column) for column in columns]
    if not all(abs(number) < BEYOND for number in numbers):  # nan is not, either
        raise ValueError("a number is not finite, or has more than 15 digits")
    frame, track = (_whole(number) for number in numbers[:2])
    left, top, width, height = numbers[2:6]
    if frame < 1:
        raise ValueError(f"frame {frame}")
    if width <= 0 or height <= 0:
        raise ValueError(f"a box of {width:g} x {height:g} pixels")
    confidence = numbers[6] if len(numbers) > 6 else -1
    is_ground_truth = len(numbers) in (8, 9) and numbers[7] != -1
    if is_ground_truth and (confidence == 0 or numbers[7] != PEDESTRIAN):
        return frame - 1, None
    score = None if is_ground_truth or confidence == -1 else confidence
    return frame - 1, Box(left, top, width, height, score, None if track < 0 else track)


def _whole(number: float) -> int:
    if number != int(number):
        raise ValueError(f"{number:g} is not a whole number")
    return int(number)
