"""The plot of a run's curves, by what its lines hold."""

import pytest
from matplotlib.figure import Figure
from PIL import Image

from misc.runtime import curves_plot
from misc.runtime.curves_plot import draw_curves

CLOSING = "chosen"


def step(number: int, stage: str, **losses: float) -> dict:
    costs = {"lr": 0.1 * number, "samples_per_second": 9.5, "peak_memory_gib": 1.5, "seconds": 2.5}
    return {"step": number, "epoch": 1, "stage": stage, **losses, **costs}


def evaluation(number: int, direction: str, **more: object) -> dict:
    metrics = {"R1": 10.0 * number, "mAP": 5.0 * number, "seconds": 3.0}
    return {"step": number, "split": "val", "direction": direction, **metrics, **more}


ROWS = [
    step(1, "prompts", loss=3.0, sup_con=3.0),
    {"step": 1, "epoch": 1, "skipped": ["a.jpg"]},
    step(2, "prompts", loss=2.0, sup_con=2.0),
    step(3, "images", loss=5.0, id=4.0),
    evaluation(3, "text to image"),
    evaluation(3, "text to image, en"),
    step(4, "images", loss=4.0, id=3.0),
    evaluation(4, "text to image"),
    evaluation(3, "text to image", **{CLOSING: "epoch 1, the best on val"}),
]


@pytest.fixture
def figures(monkeypatch) -> list[Figure]:
    """The figures that are saved."""
    kept, save = [], curves_plot.save_figure
    monkeypatch.setattr(
        curves_plot, "save_figure", lambda file, figure: (kept.append(figure), save(file, figure))
    )
    return kept


def lines(area) -> dict[str, list]:
    named = [line for line in area.get_lines() if not line.get_label().startswith("_")]
    return {line.get_label(): [*zip(*line.get_data(), strict=True)] for line in named}


def test_losses_rates_and_evaluations_are_drawn_by_step(tmp_path, figures):
    draw_curves(tmp_path / "curves.png", ROWS, CLOSING)
    with Image.open(tmp_path / "curves.png") as plot:
        assert plot.format == "PNG"
    losses, rates, evaluations = figures[0].axes
    assert lines(losses) == {
        "loss": [(1, 3.0), (2, 2.0), (3, 5.0), (4, 4.0)],
        "sup_con": [(1, 3.0), (2, 2.0)],
        "id": [(3, 4.0), (4, 3.0)],
    }
    ((_, points),) = lines(rates).items()
    assert points == [(n, pytest.approx(0.1 * n)) for n in (1, 2, 3, 4)]
    assert lines(evaluations) == {
        "text to image, R1": [(3, 30.0), (4, 40.0)],
        "text to image, mAP": [(3, 15.0), (4, 20.0)],
    }
    labels = [losses.get_ylabel(), rates.get_ylabel(), evaluations.get_ylabel()]
    assert labels == ["loss", "learning rate", "val (%)"]
    assert evaluations.get_xlabel() == "step"
    marked = [line.get_xdata()[0] for line in rates.get_lines() if line.get_label()[0] == "_"]
    assert marked == [2, 3], "the end of the first stage, and the model that was chosen"
    assert losses.get_title(loc="right") == "dashed: epoch 1, the best on val"


def test_there_is_no_panel_of_evaluations_that_a_run_has_not(tmp_path, figures):
    draw_curves(tmp_path / "curves.png", ROWS[:4], CLOSING)
    assert len(figures[0].axes) == 2
    draw_curves(tmp_path / "none.png", ROWS[-1:], CLOSING)
    assert not (tmp_path / "none.png").exists(), "nothing was trained"
