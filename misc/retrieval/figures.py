"""The figures of an evaluation: CMC curves, and similarities of matches and of other pairs."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from misc.retrieval.similarities import BINS, Similarities
from misc.runtime.figure import COLOURS, DARK, INK, LIGHT, new_figure, save_figure

HEIGHT = 3.6  # inches, of the CMC curves
PANEL = 2.5  # inches, of the similarities on one dataset


def draw_cmc(file: Path, curves: Mapping[str, Sequence[float]]) -> None:
    """Draw CMC curves into a PNG.

    Args:
        curves: percentages from rank 1 on, by name.

    Raises:
        InputError: the file cannot be written.
    """
    figure, (area,) = new_figure(1, HEIGHT)
    for (name, shares), colour in zip(curves.items(), cycle(COLOURS)):
        ranks = range(1, len(shares) + 1)
        label = f"{name} (R1 {shares[0]:.2f})"
        area.plot(ranks, shares, color=colour, label=label, linewidth=1.4)
    area.set_xlabel("rank")
    area.set_ylabel("% of queries with a match up to this rank")
    area.set_xlim(1, None)
    area.set_xticks([1, *range(10, 1 + max(map(len, curves.values())), 10)])
    area.grid(color=LIGHT, linewidth=0.5)
    area.legend(loc="best", fontsize=9)
    save_figure(file, figure)


def draw_similarities(
    file: Path, similarities: Mapping[str, Similarities], thresholds: Mapping[str, float]
) -> None:
    """Draw histograms of the similarities of matches and of other pairs into a PNG.

    Args:
        similarities: by dataset.
        thresholds: the calibrated ones, by dataset.

    Raises:
        InputError: the file cannot be written.
    """
    figure, areas = new_figure(len(similarities), PANEL, sharex=True)
    for (name, counted), area in zip(similarities.items(), areas, strict=True):
        _draw_pairs(area, counted)
        area.set_title(name, loc="left", fontsize=10)
        if name in thresholds:
            label = f"calibrated threshold {thresholds[name]:.3f}"
            area.axvline(thresholds[name], color=INK, linewidth=1.2, linestyle="--", label=label)
        area.legend(fontsize=9, frameon=False)
    areas[-1].set_xlabel("similarity of a query and a picture")
    seen = [i for pairs in similarities.values() for i in (pairs.matches + pairs.others).nonzero()]
    edges = _edges()
    areas[-1].set_xlim(edges[int(min(seen))], edges[int(max(seen)) + 1])
    save_figure(file, figure)


def _edges() -> list[float]:
    return np.linspace(-1, 1, BINS + 1).tolist()


def _draw_pairs(area: Axes, counted: Similarities) -> None:
    for counts, label, colour, alpha in (
        (counted.others, "other pairs", LIGHT, 1.0),
        (counted.matches, "matches", DARK, 0.75),
    ):
        shares = 100 * counts / counts.sum().clamp(min=1)
        label = f"{label} ({int(counts.sum()):,})"
        area.stairs(shares.tolist(), _edges(), fill=True, color=colour, alpha=alpha, label=label)
    area.set_ylabel("% of the pairs")
