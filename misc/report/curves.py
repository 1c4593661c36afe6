"""Curves of a training as small charts, drawn in SVG."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import product
from math import isfinite

from matplotlib.ticker import MaxNLocator

from misc.report.run import Run
from model.trees import Tree

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 420, 230  # of the drawing, in its own units
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 38  # margins
MOST_POINTS = 400  # of a curve
NOT_LOSSES = ("lr", "samples_per_second", "peak_memory_gib", "seconds")


def draw_curves(runs: Sequence[Run]) -> str:
    """Charts of losses, metrics on the split that selects, and learning rate; of several runs, of
    their totals side by side.
    """
    if len(runs) == 1:
        losses = {name: points(runs[0].steps, name) for name in _losses(runs[0].steps)}
    else:
        losses = {run.name: points(run.steps, "loss") for run in runs}
    charts = [("Loss, by step", losses), *_metric_charts(runs)]
    rates = {"" if len(runs) == 1 else run.name: points(run.steps, "lr") for run in runs}
    charts.append(("Learning rate, by step", rates))
    drawn = [draw_chart(title, lines) for title, lines in charts if any(lines.values())]
    return f'<div class="charts">{"".join(drawn)}</div>' if drawn else ""


def _losses(rows: Iterable[Tree]) -> list[str]:
    """Names of the losses, in the order of the rows: the total first."""
    columns = (name for row in rows for name, value in row.items() if isinstance(value, float))
    return [name for name in dict.fromkeys(columns) if name not in NOT_LOSSES]


def _metric_charts(runs: Sequence[Run]) -> Iterator[tuple[str, dict[str, Points]]]:
    """Of one run every direction, of several runs the first."""
    for split, metric in product(("val", "test"), ("R1", "mAP")):
        lines: dict[str, Points] = {}
        for run in runs:
            rows = run.evaluations(split)
            directions = list(dict.fromkeys(str(row.get("direction")) for row in rows))
            for direction in directions if len(runs) == 1 else directions[:1]:
                own = [row for row in rows if row.get("direction") == direction]
                name = direction if len(runs) == 1 else f"{run.name}, {direction}"
                lines[name] = points(own, metric, "epoch")
        yield f"{metric} on {split} in percent, by epoch", lines


def points(rows: Iterable[Tree], name: str, by: str = "step") -> Points:
    """The values of a column, thinned out."""
    found = [
        (float(row[by]), float(row[name]))
        for row in rows
        if isinstance(row.get(name), int | float) and isfinite(row[name])
    ]
    return found[:: max(1, len(found) // MOST_POINTS)]


def draw_chart(title: str, lines: Mapping[str, Points]) -> str:
    """A chart with axes, and a legend of its curves where they have names."""
    every = [point for line in lines.values() for point in line]
    xs = _ticks([x for x, _ in every], whole=True)
    ys = _ticks([y for _, y in every])
    place = _Placing((xs[0], xs[-1]), (ys[0], ys[-1]))
    parts = [_axes(xs, ys, place)]
    for number, line in enumerate(lines.values()):
        drawn = " ".join(f"{place.x(x):.1f},{place.y(y):.1f}" for x, y in line)
        parts.append(f'<polyline class="line c{number % 8}" points="{drawn}"/>')
        if len(line) == 1:
            x, y = line[0]
            dot = f'cx="{place.x(x):.1f}" cy="{place.y(y):.1f}"'
            parts.append(f'<circle class="dot c{number % 8}" {dot} r="3"/>')
    legend = "".join(
        f'<span class="key c{number % 8}">{escape(name)}</span>'
        for number, name in enumerate(lines)
        if name
    )
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'{"".join(parts)}</svg><div class="legend">{legend}</div></figure>'
    )


class _Placing:
    """The place of a point in the drawing."""

    def __init__(self, xs: tuple[float, float], ys: tuple[float, float]) -> None:
        self.xs, self.ys = xs, ys

    def x(self, value: float) -> float:
        low, high = self.xs
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self.ys
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)


def _ticks(values: Sequence[float], whole: bool = False) -> list[float]:
    """Round numbers around all values, at least two; whole ones if asked."""
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return [float(tick) for tick in MaxNLocator(nbins=5, integer=whole).tick_values(low, high)]


def _axes(xs: Sequence[float], ys: Sequence[float], place: _Placing) -> str:
    parts = [
        f'<path class="grid" d="M{LEFT} {place.y(y):.1f}H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT - 6}" y="{place.y(y) + 4:.1f}" text-anchor="end">{y:.6g}</text>'
        for y in ys
    ]
    parts += [
        f'<text x="{place.x(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:.6g}</text>'
        for x in xs[:-1]
    ]
    return "".join(parts)
