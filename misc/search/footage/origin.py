"""Origin of a video: its file, its camera, and the time when it starts."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from errors import InputError
from misc.search.footage.crops import Crop
from misc.search.footage.records import CropRecord


@dataclass(frozen=True)
class Origin:
    """Fingerprint of a video, and its camera and start, as far as they are known."""

    video: Path
    camera: int | None
    start: datetime | None
    fingerprint: str

    def record(self, crop: Crop) -> CropRecord:
        """The record of a crop from this video.

        Raises:
            InputError: its time is beyond the years that can be written.
        """
        left, top, right, bottom = crop.region
        try:
            time = self.start and self.start + timedelta(seconds=float(crop.seconds))
        except OverflowError:
            raise InputError(
                f"{self.video}: {float(crop.seconds):g} s after {self.start} is beyond the years 1 "
                "to 9999; correct --start or --time"
            ) from None
        return CropRecord(
            path=f"{self.video.stem}/{crop.file.name}",
            video=self.video.name,
            camera=self.camera,
            frame=crop.frame,
            seconds=float(crop.seconds),
            time=time.isoformat(sep=" ") if time else None,
            box=(left, top, right - left, bottom - top),
            score=crop.box.score,
            track=crop.box.track,
            fingerprint=self.fingerprint,
        )
