"""Records of the crops that were cut out of videos: crops.jsonl, one JSON object a line."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field, FiniteFloat, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from errors import InputError
from misc.runtime.atomic import atomic_write

CROPS_FILE = "crops.jsonl"


def _below(path: str) -> str:
    """A path, if it names something below the folder of the records."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or not pure.parts or ".." in pure.parts:
        raise PydanticCustomError("path", "Input should be a path below this folder")
    return path


Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]


@dataclass(frozen=True)
class CropRecord:
    """Origin of a crop.

    Args:
        path: relative to the folder of the records, with `/`.
        video: name of the file.
        frame: number in the video, from 0.
        seconds: into the video.
        time: of the frame, `YYYY-MM-DD HH:MM:SS[.ffffff]`.
        box: left, top, width and height of the crop in pixels of the frame.
        score: of the detector.
        track: number of the person within the video.
        fingerprint: of the video; None in records of older versions.
    """

    path: Annotated[str, AfterValidator(_below)]
    video: str
    camera: Int64 | None
    frame: Int64
    seconds: FiniteFloat
    time: str | None
    box: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    score: FiniteFloat | None
    track: Int64 | None
    fingerprint: str | None = None


_RECORD = TypeAdapter(CropRecord)


def read_crops(file: Path) -> dict[Path, CropRecord]:
    """The records of a file, by the absolute path of the crop.

    Raises:
        InputError: the file cannot be read, or a line is malformed.
    """
    try:
        # In bytes, only the ends of lines separate: a name may have other separators of text.
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error}); delete it, and crop the videos again"
        ) from error
    folder = file.absolute().parent
    records = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = _RECORD.validate_json(line, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            place = "".join(f"{key}: " for key in first["loc"])
            raise InputError(
                f"{file}, line {number}: {place}{first['msg']}; delete the file, and crop the "
                "videos again"
            ) from None
        records[folder / record.path] = record
    return records


def write_crops(file: Path, records: Iterable[CropRecord]) -> None:
    """Write the records, in place of those that the file had."""
    with atomic_write(file) as partial:
        partial.write_bytes(b"".join(_RECORD.dump_json(record) + b"\n" for record in records))
