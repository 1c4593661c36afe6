"""The published augmentations with torchvision, view by view, as a reference for statistics.

python -m tests.data.published_views writes the reference of tests/data/test_rendering.py: minutes.
"""

import json

import numpy as np
import torch
import torchvision.transforms.functional as TF
from numpy.random import Generator
from PIL import Image
from torch import Tensor
from torchvision import transforms as T

from tests import GOLDEN_FILES

FILE = GOLDEN_FILES / "published_views.json"
SIZE = (24, 24)
DRAWS = 10_000


def person() -> Image.Image:
    """A picture of 48 x 48 pixels: a person in red and blue before a wall, with some noise."""
    rng = np.random.default_rng(0)
    pixels = np.full((48, 48, 3), (170, 160, 140)) + rng.normal(0, 12, (48, 48, 1))
    pixels[30:] = (90, 100, 80)
    pixels[4:12, 18:28] = (210, 160, 130)
    pixels[12:28, 14:31] = (190, 40, 50)
    pixels[28:46, 16:30] = (30, 50, 140)
    pixels += rng.normal(0, 8, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def pool_view(picture: Image.Image, size: tuple[int, int], rng: Generator) -> Tensor:
    """TBPS-CLIP's training view, in [0, 1]."""
    operations = [
        T.ColorJitter(0.1, 0.1, 0.1, 0),
        T.RandomRotation(15),
        T.RandomResizedCrop(size, (0.9, 1.0), antialias=True),
        T.RandomGrayscale(0.1),
        T.RandomHorizontalFlip(),
        T.RandomErasing(scale=(0.1, 0.2)),
    ]
    image = TF.to_tensor(picture.resize(size[::-1], Image.Resampling.BILINEAR))
    for choice in rng.integers(len(operations), size=2):
        image = operations[choice](image)
    return image


def simclr_view(picture: Image.Image, size: tuple[int, int], rng: Generator) -> Tensor:
    """SimCLR's view of a square picture, in [0, 1]."""
    image = TF.to_tensor(T.RandomResizedCrop(size, (0.2, 1.0))(picture))
    if rng.random() < 0.8:
        image = T.ColorJitter(0.4, 0.4, 0.4, 0.1)(image)
    image = T.RandomGrayscale(0.2)(image)
    if rng.random() < 0.5:
        image = T.GaussianBlur(13, (0.1, 2.0))(image)
    return T.RandomHorizontalFlip()(image)


def summaries(views: Tensor) -> dict[str, Tensor]:
    """Summaries of views (N, 3, rows, columns) in [0, 1], (N,) each."""
    rows, columns = views.shape[-2:]
    grey = views.mean(dim=1)
    return {
        "red": views[:, 0].mean((1, 2)),
        "green": views[:, 1].mean((1, 2)),
        "blue": views[:, 2].mean((1, 2)),
        "contrast": grey.std((1, 2)),
        "colourfulness": views.std(dim=1).mean((1, 2)),
        "detail": grey.diff(dim=2).abs().mean((1, 2)) + grey.diff(dim=1).abs().mean((1, 2)),
        "left against right": grey[:, :, : columns // 2].mean((1, 2))
        - grey[:, :, columns // 2 :].mean((1, 2)),
        "top against bottom": grey[:, : rows // 2].mean((1, 2)) - grey[:, rows // 2 :].mean((1, 2)),
        "black": (views == 0).all(dim=1).float().mean((1, 2)),
    }


def quantiles(values: Tensor) -> list[float]:
    """The mean and some quantiles."""
    points = torch.tensor([0.02, 0.25, 0.5, 0.75, 0.98])
    return [values.mean().item(), *values.quantile(points).tolist()]


def main() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    found = {}
    for name, make in (("pool", pool_view), ("simclr", simclr_view)):
        views = torch.stack([make(person(), SIZE, rng) for _ in range(DRAWS)])
        found[name] = {key: quantiles(values) for key, values in summaries(views).items()}
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
