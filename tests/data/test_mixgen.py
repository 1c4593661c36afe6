import pytest
import torch

from misc.data.mixgen import mixgen

CAPTIONS = ["a", "b", "c", "d", "e"]


@pytest.fixture
def images() -> torch.Tensor:
    """Five flat images with values 0 to 4, below zero in the last channel: (5, 3, 4, 6)."""
    values = torch.arange(5.0)[:, None, None, None] * torch.tensor([1.0, 10.0, -1.0])[:, None, None]
    return values.expand(5, 3, 4, 6).clone()


def test_ori_averages_the_first_images_with_the_next(images):
    before = images.clone()
    mixed, captions = mixgen(images, CAPTIONS, "ori", 0.4)
    assert captions == ["a c", "b d", "c", "d", "e"]
    assert torch.equal(mixed[0], (images[0] + images[2]) / 2)
    assert torch.equal(mixed[1], (images[1] + images[3]) / 2)
    assert torch.equal(mixed[2:], images[2:])
    assert torch.equal(images, before)
    assert CAPTIONS == ["a", "b", "c", "d", "e"]


def test_cat_sets_halves_side_by_side(images):
    before = images.clone()
    mixed, captions = mixgen(images, CAPTIONS, "cat", 0.2)
    assert captions == ["a b", "b", "c", "d", "e"]
    assert mixed.shape == images.shape
    torch.testing.assert_close(mixed[0, :, :, :3], images[0, :, :, :3])
    torch.testing.assert_close(mixed[0, :, :, 3:], images[1, :, :, 3:])
    assert torch.equal(mixed[1:], images[1:])
    assert torch.equal(images, before)


def test_cat_shows_the_whole_of_both_images_at_odd_widths():
    ramp = torch.linspace(-2, 2, 7).expand(2, 3, 5, 7)
    mixed, _ = mixgen(ramp, ["a", "b"], "cat", 0.5)
    assert mixed.shape == ramp.shape
    left, right = mixed[0, 0, 0, :3], mixed[0, 0, 0, 3:]
    for part in (left, right):
        assert part[0] < -1.2
        assert part[-1] > 1.2


@pytest.mark.parametrize("kind", ["ori", "cat"])
def test_a_ratio_too_small_for_the_batch_changes_nothing(images, kind):
    mixed, captions = mixgen(images, CAPTIONS, kind, 0.1)
    assert torch.equal(mixed, images)
    assert captions == CAPTIONS


def test_wrong_settings_are_refused(images):
    with pytest.raises(AssertionError):
        mixgen(images, CAPTIONS, "dog", 0.1)
    with pytest.raises(AssertionError):
        mixgen(images, CAPTIONS, "ori", 0.6)
