"""Pixels of random views: against Pillow's and torchvision's, and the published augmentations."""

import json
import math

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from PIL import Image
from torch import Tensor

from misc.data import rendering
from misc.data.rendering import (
    ViewRows,
    blur_images,
    change_colors,
    erase_rectangles,
    finish_views,
    groups,
    sample_pictures,
)
from misc.data.transforms import SimCLRTransform, TrainTransform, cut_views
from misc.data.views import CHANGES, UNCHANGED, Color, View
from tests.data.published_views import DRAWS, FILE, SIZE, person, quantiles, summaries

KEPT = torch.zeros(3), torch.ones(3)  # statistics of no normalisation


def smooth(rows: int, columns: int) -> Tensor:
    """A picture without sharp edges, (1, 3, rows, columns), uint8."""
    y, x = torch.meshgrid(torch.arange(rows) / rows, torch.arange(columns) / columns, indexing="ij")
    waves = torch.stack([x, y, (1 + torch.sin(4 * x + 3 * y)) / 2])
    return (255 * waves)[None].byte()


def colored(images: Tensor, *views: View) -> Tensor:
    rows = ViewRows.of(views)
    return change_colors(images.float(), rows.on(images.device).color)


@pytest.mark.parametrize(
    ("change", "reference"),
    [(0, TF.adjust_brightness), (1, TF.adjust_contrast), (2, TF.adjust_saturation)],
)
@pytest.mark.parametrize("factor", [0.6, 1.3])
def test_a_change_of_colours_is_torchvisions(change, reference, factor):
    images = torch.rand(2, 3, 10, 8, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.1
    view = View(color=CHANGES[change](UNCHANGED, factor))
    torch.testing.assert_close(colored(255 * images, view, view), reference(images, factor))


def test_changes_follow_each_other():
    images = torch.rand(1, 3, 10, 8) * 0.5 + 0.2
    color = CHANGES[2](CHANGES[1](CHANGES[0](UNCHANGED, 0.9), 1.2), 0.7)
    expected = TF.adjust_brightness(images, 0.9)
    expected = TF.adjust_saturation(TF.adjust_contrast(expected, 1.2), 0.7)
    torch.testing.assert_close(colored(255 * images, View(color=color)), expected)


def test_colours_end_between_black_and_white():
    color = Color(3 * np.eye(3), -np.eye(3))
    result = colored(smooth(20, 20), View(color=color))
    assert result.min() == 0
    assert result.max() == 1


@pytest.mark.parametrize("deviation", [0.3, 1.0, 2.0])
def test_a_blur_is_torchvisions(deviation):
    images = torch.rand(2, 3, 40, 30)
    reach = math.ceil(3 * deviation)
    found = blur_images(images, torch.tensor([[deviation], [0.0]]), 6)
    expected = TF.gaussian_blur(images[:1], [2 * reach + 1] * 2, [deviation] * 2)
    torch.testing.assert_close(found[:1], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1:], images[1:])


def test_a_blur_reaches_no_further_than_a_small_image():
    tiny = torch.rand(1, 3, 3, 5)
    assert blur_images(tiny, torch.tensor([[2.0]]), 6).shape == tiny.shape


def test_only_the_views_that_are_blurred_are():
    views = [View(), View(blur=1.5), View(), View(blur=0.5), View()]
    images = torch.randint(256, (5, 3, 16, 12), dtype=torch.uint8)
    found = finish_views(images, ViewRows.of(views), *KEPT)
    for view, image, result in zip(views, images, found, strict=True):
        alone = finish_views(image[None], ViewRows.of([view]), *KEPT)[0]
        torch.testing.assert_close(result, alone)
        assert torch.allclose(result, image / 255, atol=1e-6) == (view.blur == 0)


def test_a_view_is_normalised_and_its_rectangles_are_black():
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])
    views = [View(erased=((2, 3, 4, 5), (9, 0, 1, 12))), View()]
    images = torch.randint(1, 256, (2, 3, 16, 12), dtype=torch.uint8)
    found = finish_views(images, ViewRows.of(views), mean, std)
    expected = images / 255
    expected[0, :, 2:6, 3:8] = 0
    expected[0, :, 9:10, :] = 0
    torch.testing.assert_close(found, TF.normalize(expected, mean, std))


def test_rectangles_are_erased_at_once_as_one_by_one():
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])
    views = [
        View(erased=((2, 3, 4, 5), (9, 0, 1, 12))),
        View(),
        View(erased=((0, 0, 16, 12),)),
        View(erased=((15, 11, 1, 1), (3, 4, 5, 6))),
    ]
    images = torch.randint(1, 256, (4, 3, 16, 12), dtype=torch.uint8)
    rows, black = ViewRows.of(views), (-mean / std)[:, None, None]
    whole = finish_views(images, ViewRows.of([View()] * 4), mean, std)
    found = erase_rectangles(whole, rows.on(images.device).erased, black)
    assert torch.equal(found, finish_views(images, rows, mean, std))
    assert torch.equal(found[1], whole[1])


def test_corners_become_black_at_once_as_one_by_one(monkeypatch):
    part, angles = (0.2, 0.1, 0.6, 0.8), range(-15, 16, 5)
    drawn = [View(part, mirrored=angle > 2, angle=float(angle)) for angle in angles]
    rows, pictures = ViewRows.of(drawn), smooth(40, 24).expand(len(drawn), -1, -1, -1)
    one_by_one = sample_pictures(pictures, rows)
    monkeypatch.setattr(rendering, "groups", lambda rows, _: groups(rows, torch.device("meta")))
    assert torch.equal(sample_pictures(pictures, rows), one_by_one)
    assert [(image == 0).all(0).any().item() for image in one_by_one] == [
        v.angle != 0 for v in drawn
    ]
    assert groups([], torch.device("meta")) == []


GEOMETRY = {
    "whole": View(),
    "mirrored": View(mirrored=True),
    "crop": View(box=(0.25, 0.125, 0.5, 0.75)),
    "mirrored crop": View(box=(0.25, 0.125, 0.5, 0.75), mirrored=True),
    "at the edge": View(box=(0.0, 0.5, 0.5, 0.5)),
    "turned": View(angle=12.0),
    "turned crop": View(box=(0.25, 0.125, 0.5, 0.75), mirrored=True, angle=-9.0),
}


@pytest.mark.parametrize("size", [(32, 32), (64, 32)])
@pytest.mark.parametrize("name", GEOMETRY)
def test_the_device_cuts_and_turns_as_pillow_does(name, size):
    """Pillow turns to the nearest pixel, the device between pixels."""
    pictures, view = smooth(*size), GEOMETRY[name]
    found = sample_pictures(pictures, ViewRows.of([view]))[0]
    picture = Image.fromarray(pictures[0].permute(1, 2, 0).numpy())
    expected = cut_views(picture, [view], size)[0].float()
    difference = (found - expected).abs()
    if view.angle:
        black = (expected == 0).all(0)
        assert ((found == 0).all(0) ^ black).float().mean() < 0.05
        difference = difference[:, ~black & (found != 0).all(0)]
        assert difference.mean() < 4
        assert difference.quantile(0.95) < 12
    else:
        assert difference.max() < 2


def test_only_the_views_with_an_angle_are_turned():
    color = CHANGES[0](UNCHANGED, 0.5)
    rows = ViewRows.of([View(color=color), View(angle=15), View(mirrored=True), View(angle=-5)])
    assert rows.turned() == [1, 3]


def test_what_a_crop_leaves_out_does_not_show_when_it_is_turned():
    white = torch.full((1, 3, 40, 40), 255, dtype=torch.uint8)
    turned = sample_pictures(white, ViewRows.of([View(box=(0.2, 0.2, 0.6, 0.6), angle=15)]))[0]
    assert turned[:, 20, 20].tolist() == pytest.approx([255] * 3)
    assert turned[:, 0, 0].tolist() == turned[:, -1, -1].tolist() == [0] * 3


def draw_all(name: str) -> list[View]:
    rng = np.random.default_rng(1)
    kept = ((0, 0, 0), (1, 1, 1))
    transform = {"pool": TrainTransform, "simclr": SimCLRTransform}[name](SIZE, kept)
    return [transform.draw((48, 48), rng) for _ in range(DRAWS)]


@pytest.mark.parametrize(("name", "most"), [("pool", 0.015), ("simclr", 0.025)])
def test_views_look_like_the_published_ones(name, most):
    """10,000 of each: the means and quantiles of colours, contrast, detail, place and black.

    SimCLR's differ most by the hue: where it turns, the brightness stays here, but not in HSV.
    """
    views = draw_all(name)
    made = finish_views(cut_views(person(), views, SIZE), ViewRows.of(views), *KEPT)
    expected = json.loads(FILE.read_text(encoding="utf-8"))[name]
    for key, values in summaries(made).items():
        assert quantiles(values) == pytest.approx(expected[key], abs=most), key


@pytest.mark.parametrize(
    ("name", "most", "detail"), [("pool", 0.015, (0.94, 1)), ("simclr", 0.025, (0.6, 0.9))]
)
def test_views_of_the_device_have_less_detail_alone(name, most, detail):
    """It crops the resized picture, where the CPU crops the whole one."""
    views, expected = draw_all(name), json.loads(FILE.read_text(encoding="utf-8"))[name]
    pictures = cut_views(person(), [View()], SIZE).expand(DRAWS, -1, -1, -1)
    rows = ViewRows.of(views)
    found = summaries(finish_views(sample_pictures(pictures, rows), rows, *KEPT))
    for key in found.keys() - {"detail"}:
        assert quantiles(found[key]) == pytest.approx(expected[key], abs=most), key
    least, largest = detail
    assert least < found["detail"].mean().item() / expected["detail"][0] < largest
