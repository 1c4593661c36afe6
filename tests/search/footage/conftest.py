"""Small videos whose frames can be told apart by their colours."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

SIZE = (128, 96)


def shade(number: int) -> int:
    """The grey level of a frame."""
    return 20 + 10 * number


def encode(
    file: Path, pictures: Sequence[Image.Image], stamps: Sequence[int], per_second: int = 10
) -> Path:
    """Write a video in the format of the file's suffix; stamps count 1 / per_second."""
    with av.open(file, "w") as container:
        stream = container.add_stream("mpeg4", rate=per_second, options={"qscale": "1"})
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt = "yuv420p"
        for picture, stamp in zip(pictures, stamps, strict=True):
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = stamp, Fraction(1, per_second)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


@pytest.fixture
def video(tmp_path) -> Callable[..., Path]:
    """Writes a video whose frames are grey, each of its own shade."""

    def write(
        name: str = "walk.mp4", num_frames: int = 20, stamps: Sequence[int] | None = None
    ) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pictures = [Image.new("RGB", SIZE, (shade(n),) * 3) for n in range(num_frames)]
        return encode(file, pictures, stamps or range(num_frames))

    return write


@pytest.fixture
def boxes(tmp_path) -> Callable[..., Path]:
    """Writes a MOTChallenge file."""

    def write(*lines: str, name: str = "walk.txt") -> Path:
        file = tmp_path / name
        file.write_text("".join(f"{line}\n" for line in lines))
        return file

    return write


def level(file: Path) -> float:
    """The mean grey level of a picture."""
    with Image.open(file) as picture:
        return float(np.asarray(picture.convert("L")).mean())
