"""Ranges and probabilities of the augmentations of images, by statistics over many draws."""

import colorsys
import math

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from PIL import Image
from torch import Tensor

from misc.data import transforms
from misc.data.transforms import (
    IMAGE_POOL,
    STATISTICS,
    ReIDTransform,
    SimCLRTransform,
    TrainTransform,
    blur,
    build_erasing,
    draw_part,
    erase,
    jitter_color,
    shift,
)
from tests.data.draws import assert_alike, assert_share, assert_uniform

POOL = {operation.__name__: operation for operation in IMAGE_POOL}
GREY = torch.tensor([0.2989, 0.587, 0.114])  # the weights of the channels


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def place(rows: int, columns: int) -> Tensor:
    """An image whose channels are each pixel's row, column and 1, in shares of the size."""
    row = torch.arange(rows)[:, None].expand(rows, columns) / rows
    column = torch.arange(columns).expand(rows, columns) / columns
    return torch.stack([row, column, torch.ones(rows, columns)])


def noise(rows: int, columns: int) -> Tensor:
    return torch.rand(3, rows, columns, generator=torch.Generator().manual_seed(0))


# The image pool


def test_a_view_has_two_operations_of_the_pool_all_equally_often(monkeypatch, rng):
    drawn = []

    def record(name):
        return lambda image, rng: drawn.append(name) or image

    monkeypatch.setattr(transforms, "IMAGE_POOL", tuple(map(record, POOL)))
    transform, picture = TrainTransform((4, 2), "half"), Image.new("RGB", (2, 4))
    for _ in range(1000):
        transform(picture, rng)
    assert len(drawn) == 2000
    assert_alike(drawn, list(POOL))
    pairs = zip(drawn[::2], drawn[1::2], strict=True)
    assert_share((first == second for first, second in pairs), 1 / 6)


def colour_factors(image: Tensor, result: Tensor) -> tuple[float, float, float]:
    """Factors of brightness, contrast and saturation between two images of two pixels.

    Brightness scales all; contrast the difference of the greys, and keeps their mean; saturation
    the difference of the channels, and keeps each pixel's grey.
    """

    def measures(image: Tensor) -> np.ndarray:
        grey = (GREY[:, None] * image[:, 0]).sum(0)
        return np.array([grey.mean(), grey[0] - grey[1], image[0, 0, 0] - image[2, 0, 0]])

    whole, spread, colour = measures(result) / measures(image)
    return whole, spread / whole, colour / spread


@pytest.mark.parametrize(("settings", "strength"), [({}, 0.1), ({"strength": 0.4}, 0.4)])
def test_jitter_draws_three_factors_around_one(rng, settings, strength):
    image = torch.tensor([[[0.4, 0.35]], [[0.45, 0.3]], [[0.5, 0.4]]])
    jitter = jitter_color if settings else POOL["jitter_color"]
    drawn = [colour_factors(image, jitter(image, rng, **settings)) for _ in range(700)]
    for factors in zip(*drawn, strict=True):
        assert_uniform(factors, 1 - strength, 1 + strength, rounding=2e-3)
    assert np.abs(np.corrcoef(np.array(drawn).T) - np.eye(3)).max() < 4 / math.sqrt(700)


def test_jitter_changes_colours_in_any_order(monkeypatch, rng):
    order = []
    for name in ("brightness", "contrast", "saturation", "hue"):
        monkeypatch.setattr(
            TF, f"adjust_{name}", lambda image, _, name=name: order.append(name) or image
        )
    for _ in range(600):
        jitter_color(torch.zeros(3, 1, 1), rng, hue=0.1)
    for place_in_order in range(4):
        assert_alike(order[place_in_order::4], ["brightness", "contrast", "saturation", "hue"])


def test_jitter_turns_the_hue_by_up_to_its_share_of_the_circle(rng):
    red = torch.tensor([0.8, 0.2, 0.2])[:, None, None]
    turned = [jitter_color(red, rng, strength=0.0, hue=0.1)[:, 0, 0].tolist() for _ in range(600)]
    turns = [(colorsys.rgb_to_hsv(*colour)[0] + 0.5) % 1 - 0.5 for colour in turned]
    assert_uniform(turns, -0.1, 0.1, rounding=1e-4)


def test_a_rotation_is_by_up_to_15_degrees(rng):
    image = place(151, 151)
    angles = []
    for _ in range(400):
        row, _, inside = POOL["rotate"](image, rng)[:, 75, 145].tolist()
        assert inside
        angles.append(math.degrees(math.asin((151 * row - 75) / 70)))
    assert_uniform(angles, -15, 15, rounding=0.45)  # half a pixel


def cropped(image: Tensor) -> tuple[float, float]:
    """Shares of the rows and columns of `place` that a crop has kept."""
    rows, columns = image.shape[-2:]
    row, column = image[0, rows // 4 : -rows // 4, 0], image[1, 0, columns // 4 : -columns // 4]
    return (
        ((row[-1] - row[0]) * rows / (len(row) - 1)).item(),
        ((column[-1] - column[0]) * columns / (len(column) - 1)).item(),
    )


def test_a_crop_of_the_pool_has_nine_tenths_of_the_picture_or_more(rng):
    """Of all aspects, only the share ln(1/a) / ln(4/3) fits at an area a: 0.18 of the draws do, at
    0.933 on average, and where none of ten does, the whole is left.
    """
    image = place(200, 100)
    parts = np.array([cropped(POOL["crop_resized"](image, rng)) for _ in range(800)])
    areas, aspects = parts.prod(axis=1), parts[:, 1] / parts[:, 0]
    is_whole = areas > 0.999
    assert_share(is_whole, 0.82**10)
    assert 0.893 < areas.min() < 0.905
    assert areas[~is_whole].mean() == pytest.approx(0.933, abs=0.006)
    assert 0.89 < aspects.min() < 0.93
    assert 1.07 < aspects.max() < 1.12


def test_a_part_has_any_area_aspect_and_place(rng):
    squares = [draw_part(500, 500, rng, scale=(0.2, 1), ratio=(1, 1)) for _ in range(800)]
    assert_uniform([h * w / 500**2 for _, _, h, w in squares], 0.2, 1, rounding=2e-3)
    fifths = [draw_part(500, 500, rng, scale=(0.2, 0.2), ratio=(3 / 4, 4 / 3)) for _ in range(800)]
    aspects = [math.log(w / h) for _, _, h, w in fifths]
    assert_uniform(aspects, math.log(3 / 4), math.log(4 / 3), rounding=5e-3)
    assert_uniform([top / (500 - h) for top, _, h, _ in fifths], 0, 1, rounding=2e-3)
    assert_uniform([left / (500 - w) for _, left, _, w in fifths], 0, 1, rounding=2e-3)


def test_a_tenth_of_the_pictures_turns_grey(rng):
    image = noise(2, 2)
    results = [POOL["make_gray"](image, rng) for _ in range(2000)]
    assert_share([torch.equal(r[0], r[1]) and torch.equal(r[1], r[2]) for r in results], 0.1)


def test_half_of_the_pictures_are_mirrored(rng):
    image = noise(2, 2)
    results = [POOL["flip"](image, rng) for _ in range(2000)]
    assert_share([torch.equal(result, image.flip(-1)) for result in results], 0.5)


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


def test_the_pool_erases_a_tenth_to_a_fifth_of_half_the_pictures(rng):
    image = noise(150, 150) + 1
    found = boxes([POOL["erase"](image, rng) for _ in range(1000)], torch.zeros(3))
    assert_share([True] * len(found) + [False] * (1000 - len(found)), 0.5)
    assert_uniform([h * w / 150**2 for _, _, h, w in found], 0.1, 0.2, rounding=4e-3)
    aspects = [math.log(h / w) for _, _, h, w in found]
    assert_uniform(aspects, math.log(0.3), math.log(3.3), rounding=0.03)
    assert_uniform([top / (150 - h) for top, _, h, _ in found], 0, 1, rounding=0.02)
    assert_uniform([left / (150 - w) for _, left, _, w in found], 0, 1, rounding=0.02)


# Re-identification


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


# SimCLR


@pytest.fixture
def simclr_pictures(rng) -> list[Tensor]:
    """Views of a coloured ramp that is brighter on the right, in [0, 1]."""
    ramp = np.linspace(0.3, 0.9, 60)[None, :, None] * np.array([250, 150, 50])
    picture = Image.fromarray(np.tile(ramp.astype(np.uint8), (90, 1, 1)))
    transform = SimCLRTransform((12, 12), ((0, 0, 0), (1, 1, 1)))
    return [transform(picture, rng) for _ in range(800)]


def test_a_simclr_view_is_grey_and_mirrored_as_often_as_published(simclr_pictures):
    spans = [(view.amax(0) - view.amin(0)).max() < 1e-5 for view in simclr_pictures]
    assert_share(spans, 0.2)
    left, right = (
        [view[..., part].mean().item() for view in simclr_pictures]
        for part in (slice(6), slice(6, 12))
    )
    assert_share([a > b for a, b in zip(left, right, strict=True)], 0.5)


def test_a_simclr_view_is_blurred_and_jittered_as_often_and_as_much_as_published(monkeypatch, rng):
    deviations, strengths = [], []
    monkeypatch.setattr(TF, "gaussian_blur", lambda i, _, sigma: deviations.append(sigma[0]) or i)
    monkeypatch.setattr(
        transforms, "jitter_color", lambda i, _, **kwargs: strengths.append(kwargs) or i
    )
    transform, picture = SimCLRTransform((8, 8), "half"), Image.new("RGB", (8, 16), "white")
    for _ in range(1200):
        transform(picture, rng)
    assert_share([True] * len(deviations) + [False] * (1200 - len(deviations)), 0.5)
    assert_uniform(deviations, 0.1, 2.0)
    assert_share([True] * len(strengths) + [False] * (1200 - len(strengths)), 0.8)
    assert all(given == {"strength": 0.4, "hue": 0.1} for given in strengths)


def test_a_simclr_crop_has_a_fifth_of_the_picture_or_more_in_its_own_aspect(monkeypatch, rng):
    parts = []
    own = transforms.to_tensor

    def record(part, *rest):
        parts.append(part.size)
        return own(part, *rest)

    monkeypatch.setattr(transforms, "to_tensor", record)
    monkeypatch.setattr(transforms, "jitter_color", lambda image, _, **kwargs: image)
    transform, picture = SimCLRTransform((4, 4), "half"), Image.new("RGB", (300, 300), "white")
    for _ in range(800):
        transform(picture, rng)
    areas = [columns * rows / 300**2 for columns, rows in parts]
    assert 0.195 < min(areas) < 0.22
    assert 0.95 < max(areas) <= 1
    assert np.mean(areas) == pytest.approx(0.567, abs=0.03)  # large ones fit less often
    aspects = [math.log(columns / rows) for columns, rows in parts]
    assert math.log(3 / 4) - 0.01 < min(aspects) < math.log(3 / 4) + 0.02
    assert math.log(4 / 3) - 0.02 < max(aspects) < math.log(4 / 3) + 0.01


def test_blur_is_of_half_the_pictures_within_its_range(monkeypatch, rng):
    drawn = []
    monkeypatch.setattr(TF, "gaussian_blur", lambda i, size, sigma: drawn.append((size, sigma)))
    for _ in range(2000):
        blur(torch.zeros(3, 20, 20), rng)
    assert_share([True] * len(drawn) + [False] * (2000 - len(drawn)), 0.5)
    assert_uniform([sigma[0] for _, sigma in drawn], 0.1, 2.0)
    assert all(size == [2 * math.ceil(3 * sigma[0]) + 1] * 2 for size, sigma in drawn)


def test_noise_of_erasing_is_normal(rng):
    filled = torch.cat(
        [erase(torch.full((3, 50, 50), 9.0), rng, p=1.0, fill=None).flatten() for _ in range(30)]
    )
    drawn = filled[filled != 9]
    assert drawn.mean().item() == pytest.approx(0, abs=4 / math.sqrt(len(drawn)))
    assert drawn.std().item() == pytest.approx(1, abs=4 / math.sqrt(2 * len(drawn)))
