"""Origin of a video: its camera, and the time when it starts."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from misc.search.footage.crops import Crop
from misc.search.footage.records import CropRecord


@dataclass(frozen=True)
class Origin:
    """Camera and start of a video, as far as they are known."""

    video: Path
    camera: int | None
    start: datetime | None

    def record(self, crop: Crop) -> CropRecord:
        """The record of a crop from this video."""
        left, top, right, bottom = crop.region
        time = self.start and self.start + timedelta(seconds=float(crop.seconds))
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
        )
