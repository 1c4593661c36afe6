"""The reading of training pictures, with the cache that the configuration asks for."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from misc.data.cache import PictureCache, open_cache
from misc.datasets.pictures import read_picture
from misc.settings.sections import DataSettings

log = logging.getLogger(__name__)

LEAST = 2  # a JPEG is decoded at a reduced size if both its sides are then this many times a view's


class PictureReader:
    """Reads training pictures by number and file.

    Args:
        files: of the pictures, by number.
    """

    def __init__(self, data: DataSettings, files: Sequence[Path]) -> None:
        rows, columns = data.image_size
        least = LEAST * rows, LEAST * columns
        self.read: Callable[[Path], Image.Image] = partial(read_picture, least=least)
        # The processes of a machine share a file, but have memory of their own.
        sharing = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if data.cache == "memory" else 1
        self.cache: PictureCache | None = open_cache(
            data.cache,
            Path(data.cache_folder),
            files,
            int(data.cache_gib * 2**30 / sharing),
            self.read,
            f"{least}",
        )

    @property
    def caches(self) -> list[PictureCache]:
        """The cache, if there is one."""
        return [self.cache] if self.cache else []

    def __call__(self, number: int, file: Path) -> Image.Image:
        """A picture.

        Raises:
            BadPicture: it is missing or cannot be decoded.
        """
        return self.cache(number, file) if self.cache else self.read(file)
