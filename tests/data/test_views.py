"""Ranges and probabilities of random views, by statistics over many draws."""

import colorsys
import math

import numpy as np
import pytest

from misc.data import views
from misc.data.views import (
    FROM_YIQ,
    GREY,
    IMAGE_POOL,
    WHOLE,
    YIQ,
    View,
    blur,
    draw_from_pool,
    draw_part,
    draw_rectangle,
    draw_simclr,
    jitter_color,
)
from tests.data.draws import assert_alike, assert_share, assert_uniform

POOL = {operation.__name__: operation for operation in IMAGE_POOL}
SIZE = (300, 200)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def change(view: View, pixels: np.ndarray) -> np.ndarray:
    """Pixels (N, 3) in the colours of a view."""
    return pixels @ view.color.own.T + pixels.mean(axis=0) @ view.color.mean.T


def test_a_view_has_two_operations_of_the_pool_all_equally_often(monkeypatch, rng):
    drawn = []

    def record(name):
        return lambda view, *_: drawn.append(name) or view

    monkeypatch.setattr(views, "IMAGE_POOL", tuple(map(record, POOL)))
    for _ in range(1000):
        draw_from_pool(SIZE, rng)
    assert len(drawn) == 2000
    assert_alike(drawn, list(POOL))
    pairs = zip(drawn[::2], drawn[1::2], strict=True)
    assert_share((first == second for first, second in pairs), 1 / 6)


def test_without_draws_nothing_is_done(rng):
    assert draw_from_pool(SIZE, rng, draws=0) == View()


def colour_factors(view: View) -> tuple[float, float, float]:
    """Factors of brightness, contrast and saturation, by two pixels.

    Brightness scales all; contrast the difference of the greys, and keeps their mean; saturation
    the difference of the channels, and keeps each pixel's grey.
    """

    def measures(pixels: np.ndarray) -> np.ndarray:
        grey = pixels @ GREY
        return np.array([grey.mean(), grey[0] - grey[1], pixels[0, 0] - pixels[0, 2]])

    pixels = np.array([[0.4, 0.45, 0.5], [0.35, 0.3, 0.4]])
    whole, spread, colour = measures(change(view, pixels)) / measures(pixels)
    return whole, spread / whole, colour / spread


@pytest.mark.parametrize(("settings", "strength"), [({}, 0.1), ({"strength": 0.4}, 0.4)])
def test_jitter_draws_three_factors_around_one(rng, settings, strength):
    drawn = [colour_factors(jitter_color(View(), SIZE, rng, **settings)) for _ in range(700)]
    for factors in zip(*drawn, strict=True):
        assert_uniform(factors, 1 - strength, 1 + strength, rounding=2e-3)
    assert np.abs(np.corrcoef(np.array(drawn).T) - np.eye(3)).max() < 4 / math.sqrt(700)


def test_jitter_changes_colours_in_any_order(monkeypatch, rng):
    order = []
    names = ("brightness", "contrast", "saturation", "hue")
    changes = [lambda color, _, name=name: order.append(name) or color for name in names]
    monkeypatch.setattr(views, "CHANGES", changes)
    for _ in range(600):
        jitter_color(View(), SIZE, rng, hue=0.1)
    for place_in_order in range(4):
        assert_alike(order[place_in_order::4], names)


def test_jitter_turns_the_hue_by_up_to_its_share_of_the_circle(rng):
    """The brightness and the saturation stay."""
    red = np.array([[0.8, 0.2, 0.2]])
    turned = [
        YIQ @ change(jitter_color(View(), SIZE, rng, strength=0.0, hue=0.1), red)[0]
        for _ in range(600)
    ]
    y, i, q = YIQ @ red[0]
    turns = [(math.atan2(q, i) - math.atan2(*t[:0:-1])) / (2 * math.pi) for t in turned]
    assert_uniform(turns, -0.1, 0.1, rounding=1e-4)
    assert [t[0] for t in turned] == pytest.approx([y] * 600)
    assert [math.hypot(*t[1:]) for t in turned] == pytest.approx([math.hypot(i, q)] * 600)


def test_a_turned_hue_is_nearly_that_of_hsv():
    """And in the same direction: red becomes yellow, green, blue."""
    for start in ([0.7, 0.4, 0.3], [0.3, 0.6, 0.5], [0.4, 0.3, 0.6]):
        view = View(color=views.CHANGES[3](views.UNCHANGED, 0.1))
        before, after = (
            colorsys.rgb_to_hsv(*c) for c in (start, change(view, np.array([start]))[0])
        )
        assert (after[0] - before[0]) % 1 == pytest.approx(0.1, abs=0.04)


def test_yiq_is_inverted():
    assert pytest.approx(np.eye(3), abs=1e-12) == FROM_YIQ @ YIQ


def test_a_rotation_is_by_up_to_15_degrees(rng):
    assert_uniform([POOL["rotate"](View(), SIZE, rng).angle for _ in range(600)], -15, 15)


def test_rotations_add_up_and_mirrors_cancel(rng):
    once = POOL["rotate"](View(), SIZE, rng)
    assert abs(POOL["rotate"](once, SIZE, rng).angle - once.angle) <= 15
    assert not views.flip(View(mirrored=True), SIZE, rng, p=1).mirrored


def test_a_crop_of_the_pool_has_nine_tenths_of_the_picture_or_more(rng):
    """Of all aspects, only the share ln(1/a) / ln(4/3) fits at an area a: 0.18 of the draws do, at
    0.933 on average, and where none of ten does, the whole is left.
    """
    boxes = [POOL["crop_resized"](View(), SIZE, rng).box for _ in range(1600)]
    areas = np.array([width * height for _, _, width, height in boxes])
    aspects = np.array([width / height for _, _, width, height in boxes])
    is_whole = areas > 0.999
    assert_share(is_whole, 0.82**10)
    assert 0.893 < areas.min() < 0.905
    assert areas[~is_whole].mean() == pytest.approx(0.933, abs=0.006)
    assert 0.89 < aspects.min() < 0.93
    assert 1.07 < aspects.max() < 1.12
    assert all(
        x >= 0 and x + w <= 1 + 1e-9 and y >= 0 and y + h <= 1 + 1e-9 for x, y, w, h in boxes
    )


@pytest.mark.parametrize(
    ("aspect", "expected"), [(4.0, (30, 0, 20, 40)), (0.25, (0, 15, 80, 10))], ids=["wide", "tall"]
)
def test_where_no_crop_fits_it_is_the_largest_central_one_of_the_aspect(rng, aspect, expected):
    own = {"scale": (1.0, 1.0), "ratio": (aspect, aspect)}
    assert views.draw_part(80, 40, rng, **own) == expected


def test_a_crop_of_a_crop_lies_within_it(monkeypatch, rng):
    monkeypatch.setattr(views, "draw_part", lambda *_, **__: (30, 20, 150, 100))  # of 300 x 200
    view = POOL["crop_resized"](POOL["crop_resized"](View(), SIZE, rng), SIZE, rng)
    assert view.box == pytest.approx((0.15, 0.15, 0.25, 0.25))


def test_a_part_has_any_area_aspect_and_place(rng):
    squares = [draw_part(500, 500, rng, scale=(0.2, 1), ratio=(1, 1)) for _ in range(800)]
    assert_uniform([h * w / 500**2 for _, _, h, w in squares], 0.2, 1, rounding=2e-3)
    fifths = [draw_part(500, 500, rng, scale=(0.2, 0.2), ratio=(3 / 4, 4 / 3)) for _ in range(800)]
    aspects = [math.log(w / h) for _, _, h, w in fifths]
    assert_uniform(aspects, math.log(3 / 4), math.log(4 / 3), rounding=5e-3)
    assert_uniform([top / (500 - h) for top, _, h, _ in fifths], 0, 1, rounding=2e-3)
    assert_uniform([left / (500 - w) for _, left, _, w in fifths], 0, 1, rounding=2e-3)


@pytest.mark.parametrize(("rows", "columns"), [(100, 100), (300, 100), (50, 200)])
def test_a_part_has_the_area_and_aspect_that_are_asked_for(rows, columns):
    rng = np.random.default_rng(0)
    stretch = rows / columns
    ratio = (3 / 4 * stretch, 4 / 3 * stretch)
    for _ in range(300):
        top, left, height, width = draw_part(rows, columns, rng, scale=(0.2, 1.0), ratio=ratio)
        assert top >= 0
        assert left >= 0
        assert top + height <= rows
        assert left + width <= columns
        assert height * width / (rows * columns) > 0.18
        assert 0.73 < width / height < 1.37


def test_a_part_that_never_fits_is_the_middle():
    rng = np.random.default_rng(0)
    assert draw_part(300, 100, rng, scale=(1.0, 1.0), ratio=(9 / 4, 4)) == (83, 0, 133, 100)
    assert draw_part(60, 30, rng, scale=(2.0, 2.0), ratio=(0.9, 1.1)) == (0, 0, 60, 30)


def is_grey(view: View) -> bool:
    red, green, blue = change(view, np.array([[0.2, 0.5, 0.7]]))[0]
    return red == pytest.approx(green) == pytest.approx(blue)


def test_a_tenth_of_the_pictures_turns_grey(rng):
    assert_share([is_grey(POOL["make_gray"](View(), SIZE, rng)) for _ in range(2000)], 0.1)


def test_half_of_the_pictures_are_mirrored(rng):
    assert_share([POOL["flip"](View(), SIZE, rng).mirrored for _ in range(2000)], 0.5)


def test_the_pool_erases_a_tenth_to_a_fifth_of_half_the_pictures(rng):
    rows, columns = size = (1000, 1500)
    drawn = [POOL["erase"](View(), size, rng).erased for _ in range(1500)]
    assert_share([bool(erased) for erased in drawn], 0.5)
    found = [erased[0] for erased in drawn if erased]
    assert_uniform([h * w / (rows * columns) for _, _, h, w in found], 0.1, 0.2, rounding=1e-3)
    aspects = [math.log(h / w) for _, _, h, w in found]
    assert_uniform(aspects, math.log(0.3), math.log(3.3), rounding=0.01)
    assert_uniform([top / (rows - h) for top, _, h, _ in found], 0, 1, rounding=2e-3)
    assert_uniform([left / (columns - w) for _, left, _, w in found], 0, 1, rounding=2e-3)


def test_a_rectangle_that_never_fits_is_none(rng):
    assert draw_rectangle((10, 10), rng, scale=(2, 2), ratio=(1, 1)) is None


def test_blur_is_of_half_the_pictures_within_its_range(rng):
    drawn = [blur(View(), SIZE, rng).blur for _ in range(2000)]
    assert_share([deviation > 0 for deviation in drawn], 0.5)
    assert_uniform([deviation for deviation in drawn if deviation], 0.1, 2.0)


def test_a_simclr_view_does_each_thing_as_often_as_published(monkeypatch, rng):
    strengths = []
    monkeypatch.setattr(
        views, "jitter_color", lambda view, *_, **given: strengths.append(given) or view
    )
    drawn = [draw_simclr((384, 128), rng) for _ in range(1600)]
    assert_share([True] * len(strengths) + [False] * (1600 - len(strengths)), 0.8)
    assert all(given == {"strength": 0.4, "hue": 0.1} for given in strengths)
    assert_share([is_grey(view) for view in drawn], 0.2)
    assert_share([view.mirrored for view in drawn], 0.5)
    assert_share([view.blur > 0 for view in drawn], 0.5)
    assert all(view.angle == 0 and not view.erased for view in drawn)


def test_a_simclr_crop_has_a_fifth_of_the_picture_or_more_in_its_own_aspect(rng):
    boxes = [draw_simclr((300, 300), rng).box for _ in range(800)]
    areas = [width * height for _, _, width, height in boxes]
    assert 0.195 < min(areas) < 0.22
    assert 0.95 < max(areas) <= 1
    assert np.mean(areas) == pytest.approx(0.567, abs=0.03)  # large ones fit less often
    aspects = [math.log(width / height) for _, _, width, height in boxes]
    assert math.log(3 / 4) - 0.01 < min(aspects) < math.log(3 / 4) + 0.02
    assert math.log(4 / 3) - 0.02 < max(aspects) < math.log(4 / 3) + 0.01


def test_a_view_is_a_row_of_numbers():
    view = View((0.1, 0.2, 0.3, 0.4), True, 5.0, blur=1.5, erased=((1, 2, 3, 4),))
    row = view.row()
    assert row[:6] == [0.1, 0.2, 0.3, 0.4, True, 5.0]
    assert row[6:12] == [1, 0, 0, 0, 0, 0]
    assert row[24:] == [1.5, 1, 2, 3, 4, 0, 0, 0, 0]
    assert View().box == WHOLE
