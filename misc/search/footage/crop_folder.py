"""A folder of crops: a folder for each video, and the records of all."""

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from errors import InputError
from misc.search.footage.origin import Origin
from misc.search.footage.records import CROPS_FILE, CropRecord, read_crops, write_crops

CROP_NAME = re.compile(r"\d{6,}_n?\d+\.jpg")


@dataclass(frozen=True)
class CropFolder:
    """A folder of crops, which may not exist yet."""

    root: Path

    @property
    def records_file(self) -> Path:
        return self.root / CROPS_FILE

    def check(self, origins: Sequence[Origin]) -> None:
        """Check that the crops of these videos may be written.

        Raises:
            InputError: a folder holds something else or the crops of another video, or the records
                are malformed.
        """
        by_stem = {origin.video.stem: origin for origin in origins}
        for video in (origin.video for origin in origins):
            if by_stem[video.stem].video != video:
                raise InputError(
                    f"{by_stem[video.stem].video} and {video} would share the folder "
                    f"{self.root / video.stem}; rename one, or crop it into another --output"
                )
            folder = self.root / video.stem
            if folder.exists() and not (folder.is_dir() and _has_only_crops(folder)):
                raise InputError(
                    f"{folder} exists and holds more than crops; choose another --output"
                )
        for record in self._records():
            folder = self.root / Path(record.path).parts[0]
            origin = by_stem.get(folder.name)
            if origin and folder.exists():
                _check_same_video(folder, record, origin)

    @contextmanager
    def draft(self, stem: str) -> Iterator[Path]:
        """A folder for new crops of a video, which is deleted at the end of the block.

        Raises:
            InputError: something cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".crops-", dir=self.root) as draft:
                crops = Path(draft) / stem
                crops.mkdir()
                yield crops
        except OSError as error:
            raise InputError(
                f"cannot write to {self.root} ({error.strerror or error}); choose another --output"
            ) from error

    def replace(self, draft: Path, records: list[CropRecord]) -> None:
        """Put the crops of a draft, and their records, in the place of those that the video had."""
        others = [one for one in self._records() if Path(one.path).parts[0] != draft.name]
        folder = self.root / draft.name
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
        write_crops(self.records_file, [*others, *records])

    def _records(self) -> list[CropRecord]:
        return list(read_crops(self.records_file).values()) if self.records_file.exists() else []


def _check_same_video(folder: Path, record: CropRecord, origin: Origin) -> None:
    """Check that a crop was cut out of a video: records of older versions know only its name."""
    video = origin.video
    if record.video == video.name and record.fingerprint in (None, origin.fingerprint):
        return
    other = f"another {video.name}" if record.video == video.name else record.video
    raise InputError(
        f"{folder} holds the crops of {other}; crop {video} into another --output, or delete "
        f"{folder} to replace them"
    )


def _has_only_crops(folder: Path) -> bool:
    return all(CROP_NAME.fullmatch(file.name) for file in folder.iterdir())
