"""Pictures to encode: files of an index, or pictures that a caller gives."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import torch
from PIL import Image
from torch import Tensor

from errors import InputError
from misc.data.loader import Items
from misc.datasets.pictures import decode_picture, read_content, read_picture, to_rgb

DIGEST = 16  # bytes
Transform = Callable[[Image.Image], Tensor]


def digest(content: bytes) -> bytes:
    """The hash by which a file's content is recognised."""
    return hashlib.blake2b(content, digest_size=DIGEST).digest()


class GivenPictures(Items[Tensor, Tensor]):
    """Files or pictures in memory, (3, rows, columns) each; an unreadable file is an error."""

    def __init__(self, pictures: Sequence[str | Path | Image.Image], transform: Transform) -> None:
        self.pictures, self.transform = list(pictures), transform

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Tensor:
        picture = self.pictures[index]
        if isinstance(picture, Image.Image):
            return self.transform(to_rgb(picture))
        return self.transform(read_picture(Path(picture)))

    def collate(self, items: Sequence[Tensor]) -> Tensor:
        """(N, 3, rows, columns)."""
        return torch.stack(tuple(items))


class File(NamedTuple):
    """A file as it was read: the picture is zeros where the file holds none."""

    image: Tensor  # (3, rows, columns)
    digest: Tensor  # (16,), uint8
    readable: bool


class FileBatch(NamedTuple):
    """B files as they were read."""

    images: Tensor  # (B, 3, rows, columns)
    digests: Tensor  # (B, 16), uint8
    readable: Tensor  # (B,), uint8, 0 or 1: NCCL and Gloo gather no booleans

    def to(self, device: torch.device, *, non_blocking: bool) -> Self:
        """The same batch on a device."""
        return self._replace(
            **{
                name: tensor.to(device, non_blocking=non_blocking)
                for name, tensor in self._asdict().items()
            }
        )


class PictureFiles(Items[File, FileBatch]):
    """Files of an index; an unreadable one is marked, and does not stop the others."""

    def __init__(self, files: Sequence[Path], transform: Transform) -> None:
        self.files, self.transform = list(files), transform
        self.blank = torch.zeros_like(transform(Image.new("RGB", (8, 8))))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> File:
        file = self.files[index]
        try:
            content = read_content(file)
            image = self.transform(decode_picture(content, file))
        except InputError:
            return File(self.blank, torch.zeros(DIGEST, dtype=torch.uint8), False)
        return File(image, torch.tensor(list(digest(content)), dtype=torch.uint8), True)

    def collate(self, items: Sequence[File]) -> FileBatch:
        """A batch of files."""
        images, digests, readable = zip(*items, strict=True)
        return FileBatch(torch.stack(images), torch.stack(digests), torch.tensor(readable).byte())
