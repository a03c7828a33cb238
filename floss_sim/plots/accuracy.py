"""Accuracy curves of one run and of several configurations."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from floss_sim.analysis.comparison import Configuration, CurvePoint
from floss_sim.plots.figure import (
    LEGEND_WIDTH,
    LineStyle,
    axis_unit,
    draw_line,
    line_styles,
    mark_target,
    scale_x,
)
from floss_sim.runs.own_data import OWN_LABEL

OWN = "own_accuracy"  # column of the clients' own models
_AXES: Mapping[str, tuple[str, float]] = {
    "round": ("round", 1),
    "closed_at_s": ("simulated time of the recorded fleet (s)", 1),
    "total_bytes": ("bytes of all clients, both directions (MB)", 1e-6),
}


def draw_accuracy(ax: Axes, curve: pd.DataFrame, x: str, label: str) -> None:
    """Draw validation accuracy in percent against ``round``, ``closed_at_s`` or ``total_bytes``.

    Args:
        ax: The axes to draw on.
        curve: The evaluated rounds of one run, as ``RunRecord.evaluated()`` returns them.
        x: Name of the column on the x axis.
        label: Name of the run in the legend.
    """
    title, scale = _AXES[x]
    ax.plot(curve[x] * scale, 100 * curve["accuracy"], marker="o", markersize=3, label=label)
    if OWN in curve:
        ax.plot(curve[x] * scale, 100 * curve[OWN], "--", marker="s", markersize=3, label=OWN_LABEL)
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
    if OWN in curve:
        left.legend(fontsize="x-small")
    # Labels of tiers are long: they are wrapped above the axes, because a legend would hide curves.
    figure.suptitle("\n".join([title, *textwrap.wrap(label, 110)]), fontsize="medium")
    return figure


def comparison_frame(configurations: Iterable[Configuration]) -> pd.DataFrame:
    """Return one row for each point of each configuration, in the given order.

    Columns: ``label``, ``seeds`` (the number of seeds), ``round``, ``closed_at_s`` (the median over
    fleets), ``low_s`` and ``high_s`` (5 and 95 %), ``total_bytes``, and the accuracies of
    ``comparison.CurvePoint``, ``own_accuracy`` among them where a point has one.
    """
    rows = [
        {"label": configuration.label, "seeds": len(configuration.runs), **_columns(point)}
        for configuration in configurations
        for point in configuration.points
    ]
    return pd.DataFrame(rows)


def _columns(point: CurvePoint) -> dict[str, float]:
    return {
        "round": point.round,
        "closed_at_s": point.time.median_s,
        "low_s": point.time.low_s,
        "high_s": point.time.high_s,
        "total_bytes": point.total_bytes,
        "accuracy": point.accuracy,
        "lowest": point.lowest,
        "highest": point.highest,
        **({} if point.own_accuracy is None else {OWN: point.own_accuracy}),
    }


def draw_comparison(
    frame: pd.DataFrame, x: str, task: str, *, target: float | None = None, at: float | None = None
) -> Figure:
    """Return a figure of mean validation accuracy in percent, a line and band per configuration.

    The band goes from the lowest to the highest seed at each evaluated round; x is the mean over
    the seeds at that round.

    Args:
        frame: The points, as :func:`comparison_frame` returns them; the legend keeps their order.
        x: Name of the column on the x axis: ``round``, ``closed_at_s`` or ``total_bytes``.
        task: Name of the task in the title.
        target: A target accuracy, 0 to 1, to mark; or None.
        at: A position on the x axis to mark, in the unit of column ``x``; or None.
    """
    groups = frame.groupby("label", sort=False)
    curves = [(textwrap.fill(str(label), LEGEND_WIDTH), curve) for label, curve in groups]
    rows = sum(1 + label.count("\n") for label, _ in curves)
    figure = Figure(figsize=(10, max(5.0, 0.5 + 0.18 * rows)), layout="constrained")  # inches
    axes = figure.subplots()
    name, unit, unit_name = axis_unit(x, frame[x].max())
    for (label, curve), look in zip(curves, line_styles(), strict=False):
        draw_configuration(axes, curve, curve[x] / unit, label, look)
        if x == "closed_at_s":
            draw_time_interval(axes, curve, unit, look)
    mark_target(axes, target)
    if at is not None:
        axes.axvline(at / unit, color="0.4", linewidth=0.8)
    scale = scale_x(axes, [float(curve[x].max()) for _, curve in curves])
    spread = fleets_phrase(frame) if x == "closed_at_s" else ""
    axes.set_xlabel((f"{name} ({unit_name})" if unit_name else name) + scale + spread)
    own = f"\nthin, dotted: {OWN_LABEL}" if OWN in frame else ""
    axes.set_ylabel(f"validation accuracy of P·M (%){own}")
    axes.grid(alpha=0.3)
    axes.set_title(f"{task}: {seeds_phrase(frame)}")
    figure.legend(loc="outside right center", fontsize="small", handlelength=3.6)
    return figure


def draw_configuration(
    axes: Axes, curve: pd.DataFrame, place: pd.Series[float], label: str, look: LineStyle
) -> None:
    """Draw the mean accuracy of a configuration, with a band if it has several seeds."""
    draw_line(axes, place, 100 * curve["accuracy"], label, look)
    if OWN in curve:
        axes.plot(place, 100 * curve[OWN], color=look[0], linestyle=":", linewidth=1)
    if curve["seeds"].iloc[0] > 1:
        low, high = 100 * curve["lowest"], 100 * curve["highest"]
        axes.fill_between(place, low, high, color=look[0], alpha=0.13, linewidth=0)


def draw_time_interval(axes: Axes, curve: pd.DataFrame, unit: float, look: LineStyle) -> None:
    """Draw a bar from 5 to 95 % of the fleets at the end of a curve over time.

    Args:
        axes: The axes to draw on.
        curve: The points of one configuration; nothing is drawn if they have one time each.
        unit: Seconds of one unit of the x axis.
        look: Style of the configuration; the bar has its colour.
    """
    last = curve.iloc[-1]
    if last["high_s"] > last["low_s"]:
        ends = (last["low_s"] / unit, last["high_s"] / unit)
        axes.hlines(100 * last["accuracy"], *ends, color=look[0], linewidth=3, alpha=0.4)


def fleets_phrase(frame: pd.DataFrame) -> str:
    """Return the addition to a time axis' label that explains its bars; empty without bars."""
    drawn = (frame["high_s"] > frame["low_s"]).any()
    return ", median over fleets, bar from 5 to 95 % at the end" if drawn else ""


def seeds_phrase(frame: pd.DataFrame) -> str:
    """Return the phrase of a title that explains lines and bands for the number of seeds."""
    seeds = sorted(set(frame["seeds"]))
    if seeds == [1]:
        return "one seed each"
    counts = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return f"mean of {counts} seeds, band from the lowest to the highest"
