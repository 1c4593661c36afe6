"""Ranges and probabilities of re-identification's augmentation, by statistics over many draws."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from misc.data.transforms import STATISTICS, ReIDTransform, build_erasing, erase, shift
from tests.data.draws import assert_alike, assert_share


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def place(rows: int, columns: int) -> Tensor:
    """An image whose channels are each pixel's row, column and 1, in shares of the size."""
    row = torch.arange(rows)[:, None].expand(rows, columns) / rows
    column = torch.arange(columns).expand(rows, columns) / columns
    return torch.stack([row, column, torch.ones(rows, columns)])


def boxes(results: list[Tensor], value: Tensor) -> list[tuple[int, int, int, int]]:
    """Top, left, height, width of what has that value; none of an image without it."""
    found = []
    for result in results:
        rows, columns = (result == value[:, None, None]).all(0).nonzero(as_tuple=True)
        if len(rows):
            sides = [(int(axis.min()), int(axis.max()) + 1) for axis in (rows, columns)]
            (top, bottom), (left, right) = sides
            assert len(rows) == (bottom - top) * (right - left), "a rectangle"
            found.append((top, left, bottom - top, right - left))
    return found


@pytest.mark.parametrize(("name", "largest"), [("reid", 1 / 3), ("cskt", 0.4)])
def test_re_identification_erases_half_of_the_pictures_by_its_own_range(rng, name, largest):
    """A large rectangle of an extreme aspect does not fit: the areas are not quite uniform."""
    mean = STATISTICS["clip"][0]
    build = {
        "reid": lambda: ReIDTransform((64, 64), "clip", fill=mean),
        "cskt": lambda: build_erasing((64, 64), "clip"),
    }
    transform, white = build[name](), Image.new("RGB", (64, 64), "white")
    views = [transform(white, rng) for _ in range(800)]
    found = boxes(views, torch.tensor(mean))
    assert_share([True] * len(found) + [False] * (800 - len(found)), 0.5)
    areas = [h * w / 64**2 for _, _, h, w in found]
    assert 0.017 < min(areas) < 0.02 + largest / 40
    assert largest - 0.02 < max(areas) < largest + 0.008
    aspects = [math.log(h / w) for _, _, h, w in found]
    assert math.log(0.3) - 0.1 < min(aspects) < math.log(0.3) + 0.15
    assert math.log(3.3) - 0.15 < max(aspects) < math.log(3.3) + 0.1
    assert np.mean(aspects) == pytest.approx(0, abs=0.12)


def test_a_shift_is_by_any_of_21_pixels_along_each_axis(rng):
    image = place(30, 30) + 1
    moves = []
    for _ in range(2100):
        row, column, _ = (30 * (shift(image, rng)[:, 15, 15] - 1)).round().int().tolist()
        moves.append((row - 15, column - 15))
    for along in zip(*moves, strict=True):
        assert_alike(along, range(-10, 11))


def test_re_identification_mirrors_half_of_the_pictures_and_shifts_all(rng):
    ramp = Image.fromarray(np.tile(np.linspace(60, 250, 64, dtype=np.uint8), (64, 1))).convert(
        "RGB"
    )
    transform = ReIDTransform((64, 64), "half", erased=(0.0, 0.0))
    rows = [transform(ramp, rng)[0, 32] for _ in range(800)]
    assert_share([bool(row[50] < row[14]) for row in rows], 0.5)
    assert_share([bool((row == -1).sum() == 0) for row in rows], 1 / 21)  # black beside the shifted


def test_noise_of_erasing_is_normal(rng):
    filled = torch.cat(
        [
            erase(torch.full((3, 50, 50), 9.0), rng, p=1.0, scale=(0.1, 0.2), fill=None).flatten()
            for _ in range(30)
        ]
    )
    drawn = filled[filled != 9]
    assert drawn.mean().item() == pytest.approx(0, abs=4 / math.sqrt(len(drawn)))
    assert drawn.std().item() == pytest.approx(1, abs=4 / math.sqrt(2 * len(drawn)))
