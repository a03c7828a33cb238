"""Drawing only: a DataFrame in, one Axes filled. Every number drawn is computed elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from floss_sim.errors import RecordError

_AXES: Mapping[str, tuple[str, float]] = {
    "round": ("round", 1),
    "closed_at_s": ("simulated time (s)", 1),
    "total_bytes": ("bytes of all clients, both directions (MB)", 1e-6),
}


def draw_accuracy(ax: Axes, curve: pd.DataFrame, x: str, label: str) -> None:
    """Draw validation accuracy in percent against ``round``, ``closed_at_s`` or ``total_bytes``.

    Args:
        ax: Where to draw.
        curve: The evaluated rounds of one run, as ``RunRecord.evaluated()`` returns them.
        x: A column of the curve.
        label: Names the run in the legend.
    """
    title, scale = _AXES[x]
    ax.plot(curve[x] * scale, 100 * curve["accuracy"], marker="o", markersize=3, label=label)
    ax.set_xlabel(title)
    ax.set_ylabel("validation accuracy of P·M (%)")
    ax.set_xlim(left=0)
    ax.grid(alpha=0.3)


def draw_run(curve: pd.DataFrame, title: str, label: str) -> Figure:
    """Return a figure of one run: accuracy against simulated time and against bytes."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    draw_accuracy(left, curve, "closed_at_s", label)
    draw_accuracy(right, curve, "total_bytes", label)
    right.set_ylabel("")
    right.legend(loc="lower right")
    figure.suptitle(title)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG.

    Raises:
        RecordError: The file cannot be written.
    """
    with mpl.rc_context({"savefig.dpi": 130}):
        try:
            figure.savefig(path, format="png")
        except OSError as error:
            raise RecordError(f"cannot write {path}: {error.strerror}") from None
