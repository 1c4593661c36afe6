"""Frames of a video file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
from PIL import Image

from errors import InputError

TURNS = {  # by degrees, counterclockwise
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class Frame:
    """A decoded frame.

    Args:
        number: in the order of the stream, from 0.
        seconds: since the first frame, by the time stamps of the file.
    """

    number: int
    seconds: Fraction
    decoded: av.VideoFrame

    @cached_property
    def picture(self) -> Image.Image:
        """The frame in RGB, turned as the file says: phones store theirs lying."""
        picture: Image.Image = self.decoded.to_image()
        turn = TURNS.get(round(self.decoded.rotation / 90) * 90 % 360)
        return picture if turn is None else picture.transpose(turn)


@dataclass(frozen=True)
class Video:
    """A video file.

    Args:
        width, height: of its frames as they are shown, in pixels.
        num_frames: as the file claims; 0 if it does not say.
    """

    file: Path
    width: int
    height: int
    num_frames: int

    def frames(self) -> Iterator[Frame]:
        """Decode all frames, in the order of the stream.

        Raises:
            InputError: the file is damaged, or has no time stamps.
        """
        with _open_stream(self.file) as (container, stream):
            stream.thread_type = "AUTO"
            first = None
            for number, decoded in enumerate(container.decode(stream)):
                time = _time(decoded, number, stream)
                if time is None:
                    raise InputError(f"{self.file} has no time stamps; convert it to MP4")
                first = time if first is None else first
                yield Frame(number, time - first, decoded)


def open_video(file: Path) -> Video:
    """Read the header and the first frame of a video file.

    Raises:
        InputError: there is no such file, or it has no pictures that can be decoded.
    """
    if not file.is_file():
        raise InputError(f"{file} does not exist; give a video file")
    with _open_stream(file) as (container, stream):
        first = next(container.decode(stream), None)
        if first is None:
            raise InputError(f"{file} has no pictures; give a video file")
        return Video(file, *Frame(0, Fraction(0), first).picture.size, stream.frames)


@contextmanager
def _open_stream(file: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    try:
        with av.open(file) as container:
            if not container.streams.video:
                raise InputError(f"{file} has no pictures; give a video file")
            yield container, container.streams.video[0]
    except av.FFmpegError as error:
        raise InputError(
            f"{file} cannot be decoded ({error.strerror}); give a video file that plays"
        ) from error


def _time(decoded: av.VideoFrame, number: int, stream: av.VideoStream) -> Fraction | None:
    """Seconds by the frame's time stamp, or else by the frame rate."""
    if decoded.pts is not None and decoded.time_base is not None:
        return decoded.pts * decoded.time_base
    return number / stream.average_rate if stream.average_rate else None
