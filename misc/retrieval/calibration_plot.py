"""The plot of a calibration: the best hits of searches, with and without the person."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from misc.calibration import Calibration, QueryCalibration, Scores, kept_ranks
from misc.runtime.figure import DARK, INK, LIGHT, new_figure, save_figure

BINS = 50
HEIGHT = 2.7  # inches, of one kind of query


def draw_calibration(
    file: Path, calibration: Calibration, names: Mapping[str, str], false_alarms: float
) -> None:
    """Write a PNG with a pair of histograms for each kind of query, and its threshold.

    Args:
        names: of the kinds of query, for readers.
        false_alarms: the share of the threshold.

    Raises:
        InputError: the file cannot be written.
    """
    kinds = calibration.kinds
    figure, axes = new_figure(len(kinds), HEIGHT, sharex=True)
    values = [v for kind in kinds.values() for v in (*kind.absent.values, *kind.right.values)]
    bins = np.linspace(min(values), max(values), BINS + 1).tolist()
    for name, area in zip(kinds, axes, strict=True):
        _draw_kind(area, kinds[name], bins, false_alarms)
        area.set_title(f"Search by {names[name]}", loc="left", fontsize=10)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    axes[-1].set_xlabel("similarity of the best hit")
    save_figure(file, figure)


def _draw_kind(area: Axes, kind: QueryCalibration, bins: list[float], false_alarms: float) -> None:
    for scores, label, style in (
        (kind.absent, "best hit when the person is not there", {"color": LIGHT, "edgecolor": INK}),
        (
            kind.right,
            "best hit when the person is there, if right",
            {"color": DARK, "alpha": 0.75},
        ),
    ):
        weights = _shares(scores)
        area.hist(scores.values, bins, weights=weights, label=label, linewidth=0.5, **style)
    threshold = kind.threshold(false_alarms)
    area.axvline(threshold, color=INK, linewidth=1.2, linestyle="--")
    kept = f"{100 * kind.kept(threshold):.0f} of {100 * kind.kept():.0f} % right answers kept"
    label = f" {threshold:.3f}: {100 * false_alarms:g} % false alarms, \n {kept} "
    side = "left" if threshold < bins[BINS // 2] else "right"  # where there is more room
    area.set_ylim(top=1.3 * area.get_ylim()[1])  # room for the label
    area.text(threshold, area.get_ylim()[1], label, va="top", ha=side, fontsize=8, color=INK)
    area.set_ylabel("% of searches")


def _shares(scores: Scores) -> list[float]:
    """The percentage of the sample that each kept score stands for."""
    return (100 * np.diff([0, *kept_ranks(scores.count)]) / max(1, scores.count)).tolist()
