"""The plot of a run's curves: losses, learning rate, and the evaluations that select."""

from collections.abc import Iterator, Sequence
from itertools import cycle, pairwise
from pathlib import Path

from matplotlib.axes import Axes

from misc.runtime.figure import COLOURS, INK, new_figure, save_figure
from model.trees import Tree

HEIGHT = 2.4  # inches, of a panel
SHOWN = {"R1": "-", "mAP": "--"}  # metrics, by their lines
NO_LOSSES = ("lr", "samples_per_second", "peak_memory_gib", "seconds")


def draw_curves(file: Path, rows: Sequence[Tree], closing: str) -> None:
    """Draw the rows of metrics.jsonl into a PNG, by step.

    Args:
        closing: the key of a closing evaluation's rows, whose step is marked.

    Raises:
        InputError: the file cannot be written.
    """
    training = [row for row in rows if "loss" in row]
    evaluations = [row for row in rows if "split" in row and closing not in row]
    if not training:
        return
    figure, areas = new_figure(3 if evaluations else 2, HEIGHT, sharex=True)
    _draw_losses(areas[0], training)
    _draw(areas[1], training, "lr", COLOURS[0], "learning rate")
    areas[1].set_ylabel("learning rate")
    areas[1].ticklabel_format(axis="y", scilimits=(-2, 3))
    if evaluations:
        _draw_evaluations(areas[2], evaluations)
    chosen = next((row for row in rows if closing in row), None)
    for area in areas:
        for step in _stage_ends(training):
            area.axvline(step, color=INK, linewidth=0.6, linestyle=":")
        if chosen:
            area.axvline(chosen["step"], color=INK, linewidth=0.8, linestyle="--")
    if chosen:
        areas[0].set_title(f"dashed: {chosen[closing]}", loc="right", fontsize=8)
    areas[-1].set_xlabel("step")
    save_figure(file, figure)


def _draw_losses(area: Axes, rows: Sequence[Tree]) -> None:
    names = dict.fromkeys(
        name
        for row in rows
        for name, value in row.items()
        if isinstance(value, float) and name not in NO_LOSSES
    )
    for name, colour in zip(names, cycle(COLOURS)):
        _draw(area, rows, name, INK if name == "loss" else colour, name)
    area.set_ylabel("loss")
    _add_legend(area)


def _draw_evaluations(area: Axes, rows: Sequence[Tree]) -> None:
    directions = [d for d in dict.fromkeys(row["direction"] for row in rows) if "," not in d]
    for direction, colour in zip(directions, cycle(COLOURS)):
        own = [row for row in rows if row["direction"] == direction]
        for metric, line in SHOWN.items():
            _draw(area, own, metric, colour, f"{direction}, {metric}", line)
    area.set_ylabel(f"{rows[0]['split']} (%)")
    _add_legend(area)


def _draw(
    area: Axes, rows: Sequence[Tree], name: str, colour: str, label: str, line: str = "-"
) -> None:
    points = [(row["step"], row[name]) for row in rows if name in row]
    steps, values = zip(*points, strict=True)
    size = 2.5 if len(points) < 40 else 0
    area.plot(steps, values, f"{line}o", color=colour, label=label, linewidth=1.1, markersize=size)


def _add_legend(area: Axes) -> None:
    area.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)


def _stage_ends(rows: Sequence[Tree]) -> Iterator[int]:
    for before, after in pairwise(rows):
        if before["stage"] != after["stage"]:
            yield before["step"]
