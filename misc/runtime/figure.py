"""Figures of matplotlib, drawn into PNG files without its global state."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from errors import InputError
from misc.runtime.atomic import atomic_write

WIDTH = 6.4  # inches
DPI = 110
LIGHT, DARK, INK = "#c9c9c9", "#1b5e8c", "#222222"  # told apart in a grey print, too
COLOURS = (DARK, "#c8641b", "#3c8c4a", "#8a4fa3", "#a3262a", "#6b6b6b", "#1fa3a3", "#b0902b")


def new_figure(panels: int, height: float, *, sharex: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of panels, one below the other.

    Args:
        height: of a panel, in inches.
        sharex: whether the panels have one horizontal axis.
    """
    figure = Figure(figsize=(WIDTH, height * panels), layout="constrained")
    FigureCanvasAgg(figure)
    areas = figure.subplots(panels, sharex=sharex, squeeze=False)[:, 0].tolist()
    for area in areas:
        area.spines[["top", "right"]].set_visible(False)
    return figure, areas


def save_figure(file: Path, figure: Figure) -> None:
    """Write a figure as a PNG, atomically.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        with atomic_write(file) as partial:
            figure.savefig(partial, dpi=DPI, format="png")
    except OSError as error:
        raise InputError(f"cannot write {file} ({error}); choose another folder") from error
