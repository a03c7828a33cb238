"""Figures: line styles, axes with units, small panels, legends, and the PNG file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from floss_sim.files import replace_file

_Units = Sequence[tuple[float, str]]
_UNITS: Mapping[str, tuple[str, _Units]] = {  # column: axis title, units from large to small
    "round": ("round", [(1, "")]),
    "closed_at_s": (
        "simulated time",
        [(86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")],
    ),
    "total_bytes": (
        "bytes of all clients, both directions",
        [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")],
    ),
}
# Okabe and Ito's palette for colour-blind readers, without its yellow. The lengths of the three
# cycles have no common divisor: 105 lines look different, and neighbours differ in all three.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (9, 3)))
_MARKERS = ("o", "s", "^")
LineStyle = tuple[str, Any, str]  # colour, dashes, marker
LEGEND_WIDTH = 34  # characters of a line in a legend
_COLUMNS = 3  # maximum number of small axes in a row
_CROWDED_RATIO = 300.0  # ratio of a log axis' ends from which only powers of ten get tick labels
LOG_SCALE_RATIO = 8.0  # ratio of the largest to the smallest end of a curve; above it, log scale


def mark_target(axes: Axes, target: float | None) -> None:
    """Mark a target accuracy, 0 to 1, with a horizontal line; None draws nothing."""
    if target is None:
        return
    axes.axhline(100 * target, color="0.4", linewidth=0.8)
    axes.annotate(
        f"target {100 * target:g} %", (0, 100 * target), (3, 2),
        xycoords=("axes fraction", "data"), textcoords="offset points", fontsize="x-small",
    )  # fmt: skip


def draw_line(
    axes: Axes, place: pd.Series[float], height: pd.Series[float], label: str, look: LineStyle
) -> None:
    """Draw one line with about a dozen markers."""
    colour, dashes, marker = look
    axes.plot(
        place,
        height,
        color=colour,
        linestyle=dashes,
        marker=marker,
        markersize=4,
        markevery=max(1, len(place) // 12),
        label=label,
    )


def line_styles() -> Iterator[LineStyle]:
    """Yield combinations of colour, dashes and marker; the first 105 differ."""
    return zip(cycle(COLOURS), cycle(_DASHES), cycle(_MARKERS), strict=False)


def axis_unit(x: str, largest: float) -> tuple[str, float, str]:
    """Return the axis title of a column, and the size and name of a unit for its largest value."""
    name, units = _UNITS[x]
    return name, *next((unit for unit in units if largest >= unit[0]), units[-1])


def scale_x(axes: Axes, ends: Sequence[float]) -> str:
    """Set a linear or log x axis by the ends of the curves; return the addition to its label."""
    if max(ends) <= LOG_SCALE_RATIO * min(ends):
        axes.set_xlim(left=0)
        axes.locator_params("x", integer=max(ends) > 10)  # round numbers are integers
        return ""
    axes.set_xscale("log", subs=[2, 5])
    return write_plainly(axes.xaxis)


def write_plainly(axis: Axis) -> str:
    """Label the ticks of a log axis with plain numbers; return the addition to the axis label."""
    low, high = axis.get_view_interval()
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("{x:g}" if high < _CROWDED_RATIO * low else NullFormatter())
    return ", logarithmic"


def make_panels(count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure and its ``count`` small axes, which share their scales."""
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    size = (2.5 + 4.0 * columns, 1.0 + 3.0 * rows)  # inches
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for number, axes in enumerate(grid):
        axes.grid(alpha=0.3)
        axes.set_visible(number < count)
    return figure, list(grid[:count])


def draw_legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """Draw one legend beside the axes, with one entry for each label of a line."""
    lines = {str(line.get_label()): line for axes in panels for line in axes.lines}
    named = {label: line for label, line in lines.items() if not label.startswith("_")}
    figure.legend(
        list(named.values()),
        [textwrap.fill(label, LEGEND_WIDTH) for label in named],
        loc="outside right center",
        fontsize="small",
        handlelength=3.6,
    )


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG.

    Raises:
        RecordError: The file cannot be written.
    """
    with mpl.rc_context({"savefig.dpi": 130}), replace_file(path) as temporary:
        figure.savefig(temporary, format="png")
