import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from transformers import CLIPImageProcessor

from misc.data.transforms import (
    STATISTICS,
    CentreCropTransform,
    EvaluationTransform,
    ReIDTransform,
    SimCLRTransform,
    TrainTransform,
    shift,
)
from tests import GOLDEN_FILES

GOLDEN = np.load(GOLDEN_FILES / "transforms_tbps.npz")


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 30, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("index", ["0", "1", "2"])
def test_evaluation_transform_is_the_published_one(index):
    picture = Image.fromarray(GOLDEN[f"raw/{index}"].astype(np.uint8))
    expected = torch.tensor(GOLDEN[f"tbps_val_32x24/{index}"])
    torch.testing.assert_close(EvaluationTransform((32, 24), "imagenet")(picture), expected)


def test_evaluation_transform_of_re_identification_is_torchvisions(picture):
    expected = transforms.Compose(
        [
            transforms.Resize((32, 24), transforms.InterpolationMode.BILINEAR),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    ours = EvaluationTransform((32, 24), "half", Image.Resampling.BILINEAR)(picture)
    torch.testing.assert_close(ours, expected(picture))


def test_pixels_stay_as_they_are_unless_normalised(picture):
    expected = transforms.ToTensor()(picture)
    assert torch.equal(EvaluationTransform((60, 30), "none")(picture), expected)


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


def test_a_simclr_view_is_determined_by_its_generator(picture):
    transform = SimCLRTransform((32, 16), "clip")
    views = [transform(picture, np.random.default_rng(seed)) for seed in range(20)]
    assert all(view.shape == (3, 32, 16) and view.isfinite().all() for view in views)
    assert torch.equal(transform(picture, np.random.default_rng(5)), views[5])
    assert len({view.sum().item() for view in views}) == 20


def test_a_simclr_view_stays_in_the_range_of_normalised_pixels(picture):
    transform = SimCLRTransform((16, 16), "imagenet")
    mean, std = (torch.tensor(values)[:, None, None] for values in STATISTICS["imagenet"])
    rng = np.random.default_rng(0)
    views = torch.stack([transform(picture, rng) for _ in range(50)]) * std + mean
    assert views.min() >= -1e-5
    assert views.max() <= 1 + 1e-5


@pytest.mark.parametrize("size", [(40, 100), (100, 40), (64, 64), (37, 64)])
def test_a_square_crop_is_that_of_clips_processor(size):
    """torchvision and PIL resize alike but for rounding to whole pixel values."""
    pixels = np.random.default_rng(0).integers(256, size=(*size, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    processor = CLIPImageProcessor(size={"shortest_edge": 48}, crop_size=48)
    expected = processor(images=picture, return_tensors="pt")["pixel_values"][0]
    found = CentreCropTransform((48, 48), "clip", Image.Resampling.BICUBIC)(picture)
    assert found.shape == (3, 48, 48)
    assert (found - expected).abs().max() < 0.05  # three values of 255, by deviation
    assert (found - expected).abs().mean() < 0.005


def test_a_crop_covers_any_size_and_keeps_the_aspect():
    picture = Image.new("RGB", (50, 200))
    picture.paste((255, 255, 255), (0, 90, 50, 110))  # a tenth of the height, in the middle
    found = CentreCropTransform((60, 30), "half", Image.Resampling.BICUBIC)(picture)
    white = (found[0] > 0).float().mean(dim=1)
    assert found.shape == (3, 60, 30)
    assert white.sum() == pytest.approx(12, abs=1)  # of 120 rows that the picture has there
    assert white[30] == 1


def test_a_shift_moves_the_picture_by_up_to_ten_pixels_and_blackens_the_rest():
    rows, columns = 40, 20
    place = 1 + torch.arange(rows * columns, dtype=torch.float32).reshape(1, rows, columns)
    rng = np.random.default_rng(0)
    moves = []
    for _ in range(300):
        moved = shift(place, rng)
        assert moved.shape == place.shape
        row, column = (moved[0] > 0).nonzero()[0].tolist()
        origin = int(moved[0, row, column]) - 1
        down, right = row - origin // columns, column - origin % columns
        moves.append((down, right))
        expected = torch.zeros_like(place)
        expected[:, max(0, down) : rows + min(0, down), max(0, right) : columns + min(0, right)] = (
            place[:, max(0, -down) : rows - max(0, down), max(0, -right) : columns - max(0, right)]
        )
        assert torch.equal(moved, expected)
    assert [set(along) for along in zip(*moves, strict=True)] == [{*range(-10, 11)}] * 2


def re_identification_views(transform: ReIDTransform, number: int) -> torch.Tensor:
    """Views of a white picture, (N, 3, 64, 32), each with its own generator."""
    white = Image.new("RGB", (50, 90), "white")
    return torch.stack([transform(white, np.random.default_rng(i)) for i in range(number)])


def test_re_identification_erases_normalised_pixels_with_noise():
    views = re_identification_views(ReIDTransform((64, 32), "half"), 600)
    inside = views[:, :, 10:-10, 10:-10]  # no shift reaches here: 1 after normalisation, or noise
    noise = inside[inside.ne(1)]
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.std().item() == pytest.approx(1, abs=0.02)
    erased = views.abs().ne(1).all(1)  # neither white nor the black of a shift
    areas = erased.flatten(1).float().mean(1)
    assert (areas > 0).float().mean().item() == pytest.approx(0.5, abs=0.06)
    assert 0.015 < areas[areas > 0].min() < 0.03
    assert 0.3 < areas.max() < 0.35
    boxes = [[1 + axis.max() - axis.min() for axis in e.nonzero().T] for e in erased if e.any()]
    assert torch.equal(areas[areas > 0] * 64 * 32, torch.tensor([h * w for h, w in boxes]).float())
    aspects = [float(h / w) for h, w in boxes if h * w > 100]
    assert 0.27 < min(aspects) < 0.35
    assert 2.8 < max(aspects) < 3.6


def test_re_identification_flips_half_of_the_pictures():
    """A picture whose left half is black."""
    half = Image.new("RGB", (100, 100), "white")
    half.paste((0, 0, 0), (0, 0, 50, 100))
    transform = ReIDTransform((64, 64), "half", erased=(0.0, 0.0))
    views = torch.stack([transform(half, np.random.default_rng(i)) for i in range(600)])
    is_white = views[:, 0, 32, 12] > 0  # a column that is left of the middle, however shifted
    assert is_white.float().mean().item() == pytest.approx(0.5, abs=0.06)


def test_re_identification_can_erase_with_a_value_for_each_channel():
    values = STATISTICS["clip"][0]
    transform = ReIDTransform(
        (64, 32), "clip", Image.Resampling.BILINEAR, erased=(0.02, 0.4), fill=values
    )
    views = re_identification_views(transform, 300)
    erased = (views == torch.tensor(values)[:, None, None]).all(1)
    areas = erased.flatten(1).float().mean(1)
    assert (areas > 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert 0.34 < areas.max() < 0.42


def test_a_view_for_re_identification_is_determined_by_its_generator(picture):
    """And is the resized, normalised picture where nothing below a probability is drawn."""
    transform = ReIDTransform((32, 16), "imagenet")
    views = [transform(picture, np.random.default_rng(seed)) for seed in range(20)]
    assert torch.equal(transform(picture, np.random.default_rng(5)), views[5])
    assert len({view.sum().item() for view in views}) == 20

    class Never:
        def random(self):
            return 1.0

        def integers(self, high, size):
            return (high // 2,) * size

    expected = EvaluationTransform((32, 16), "imagenet")(picture)
    torch.testing.assert_close(transform(picture, Never()), expected)
