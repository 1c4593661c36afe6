from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from misc.transforms import (
    IMAGE_POOL,
    EvaluationTransform,
    TrainTransform,
    crop_resized,
    erase,
    flip,
    make_gray,
)

GOLDEN = np.load(Path(__file__).parent / "golden" / "transforms_tbps.npz")


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 30, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(3, 40, 20, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("index", ["0", "1", "2"])
def test_evaluation_transform_is_the_published_one(index):
    picture = Image.fromarray(GOLDEN[f"raw/{index}"].astype(np.uint8))
    expected = torch.tensor(GOLDEN[f"tbps_val_32x24/{index}"])
    torch.testing.assert_close(EvaluationTransform((32, 24), "imagenet")(picture), expected)


def test_the_same_generator_gives_the_same_view_and_another_another(picture):
    transform = TrainTransform((32, 16), "clip")
    views = [transform(picture, np.random.default_rng(seed)) for seed in range(20)]
    assert all(view.shape == (3, 32, 16) for view in views)
    assert torch.equal(transform(picture, np.random.default_rng(5)), views[5])
    assert len({view.sum().item() for view in views}) > 10


def test_without_augmentation_nothing_is_drawn(picture):
    transform = TrainTransform((32, 16), "imagenet", augment=False)
    first, second = (transform(picture, np.random.default_rng(seed)) for seed in (0, 1))
    assert torch.equal(first, second)


@pytest.mark.parametrize("operation", IMAGE_POOL, ids=lambda operation: operation.__name__)
def test_an_operation_keeps_shape_and_range_and_does_something(operation, image):
    rng = np.random.default_rng(0)
    before = image.clone()
    results = [operation(image, rng) for _ in range(30)]
    assert torch.equal(image, before), "the image was changed in place"
    assert all(result.shape == image.shape for result in results)
    assert all(result.min() >= 0 and result.max() <= 1 for result in results)
    assert any(not torch.equal(result, image) for result in results)


def share(operation, image: torch.Tensor, changed) -> float:
    rng = np.random.default_rng(0)
    return np.mean([changed(operation(image, rng)) for _ in range(2000)])


def test_probabilities_are_the_published_ones(image):
    def changed(result):
        return not torch.equal(result, image)

    assert share(flip, image, changed) == pytest.approx(0.5, abs=0.04)
    assert share(make_gray, image, changed) == pytest.approx(0.1, abs=0.03)
    assert share(erase, image, changed) == pytest.approx(0.5, abs=0.04)


def test_erasing_blackens_a_tenth_to_a_fifth():
    rng = np.random.default_rng(0)
    white = torch.ones(3, 200, 100)
    areas = [1 - erase(white, rng, p=1.0).mean().item() for _ in range(200)]
    assert min(areas) > 0.09
    assert max(areas) < 0.21
    assert max(areas) - min(areas) > 0.08


def test_a_crop_keeps_most_of_the_picture(image):
    """A ramp from 0 to 1 down the rows: after a crop of 90 % or more its ends move little."""
    ramp = torch.linspace(0, 1, 40)[None, :, None].expand(3, 40, 20)
    rng = np.random.default_rng(0)
    for _ in range(50):
        crop = crop_resized(ramp, rng)
        assert crop.max() - crop.min() > 0.6
