"""Records of the crops that were cut out of videos: crops.jsonl, one JSON object a line."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from errors import InputError
from misc.runtime.atomic import atomic_write

CROPS_FILE = "crops.jsonl"


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
    """

    path: str
    video: str
    camera: int | None
    frame: int
    seconds: float
    time: str | None
    box: tuple[float, float, float, float]
    score: float | None
    track: int | None


_RECORD = TypeAdapter(CropRecord)


def read_crops(file: Path) -> dict[Path, CropRecord]:
    """The records of a file, by the absolute path of the crop.

    Raises:
        InputError: the file cannot be read, or a line is malformed.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read ({error}); crop the videos again") from error
    folder = file.absolute().parent
    records = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = _RECORD.validate_json(line, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            place = "".join(f"{key}: " for key in first["loc"])
            raise InputError(
                f"{file}, line {number}: {place}{first['msg']}; crop the video again"
            ) from None
        records[folder / record.path] = record
    return records


def write_crops(file: Path, records: Iterable[CropRecord]) -> None:
    """Write the records, in place of those that the file had."""
    with atomic_write(file) as partial:
        partial.write_bytes(b"".join(_RECORD.dump_json(record) + b"\n" for record in records))
