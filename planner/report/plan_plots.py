"""Plots of a plan: accuracy against the share of the budget spent, or against rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from floss_sim.plots.figure import mark_target
from planner.forecasts.intervals import LEVEL, Interval
from planner.question.objective import FrontPoint

CurvePoints = tuple[tuple[int, float, float], ...]  # round, share of the budget, accuracy
PM = "P·M"  # the models of accuracies, unless they are the clients' own
_NO_ENDS: Mapping[str, Interval] = {}
_START_UP = 0.1  # fraction of the spent budget whose accuracies do not set the scale


def curves_frame(curves: dict[str, CurvePoints]) -> pd.DataFrame:
    """Return one row for each evaluated round of each labelled run.

    Columns: ``run`` (label), ``round``, ``spent`` (fraction of the budget), ``accuracy`` (0 to 1).
    """
    rows = [(label, *point) for label, points in curves.items() for point in points]
    return pd.DataFrame(rows, columns=["run", "round", "spent", "accuracy"])


def draw_curves(
    ax: Axes,
    frame: pd.DataFrame,
    xlabel: str,
    ends: Mapping[str, Interval] = _NO_ENDS,
    models: str = PM,
) -> None:
    """Draw validation accuracy in percent against percent of the budget, one line a run.

    Args:
        ax: Axes to draw on.
        frame: Rows as :func:`curves_frame` returns them.
        xlabel: Label of the horizontal axis.
        ends: Interval of the accuracy at the end of a run, by its label.
        models: Which models the accuracies are of.
    """
    for position, (label, run) in enumerate(frame.groupby("run", sort=False)):
        first = position == 0
        (line,) = ax.plot(
            100 * run["spent"],
            100 * run["accuracy"],
            label=label,
            linewidth=2.4 if first else 1.2,
            marker="o",
            markersize=4 if first else 2.5,
            linestyle="--" if str(label).startswith("baseline") else "-",
        )
        if told := ends.get(str(label)):
            at = 100 * float(run["spent"].iloc[-1])
            _draw_interval(ax, at, told.low, told.mean, told.high, color=line.get_color())
    ax.set_xlabel(xlabel)
    ax.set_ylabel(f"validation accuracy of {models}, single evaluations (%)")
    ax.set_xlim(0, 102)
    late = frame[frame["spent"] >= _START_UP * frame["spent"].max()]
    if len(late):  # the steep start would flatten the differences to compare
        ax.set_ylim(bottom=max(0.0, 100 * late["accuracy"].min() - 3))
    ax.grid(alpha=0.3)
    title = f"diamonds: expected accuracy, {100 * LEVEL:.0f} % interval" if ends else None
    ax.legend(loc="lower right", fontsize="small", title=title, title_fontsize="small")


def draw_plan(
    frame: pd.DataFrame,
    title: str,
    xlabel: str,
    target: float | None = None,
    ends: Mapping[str, Interval] = _NO_ENDS,
    models: str = PM,
) -> Figure:
    """Return a figure of a plan's curves, with a line at the target accuracy if there is one.

    Args:
        frame: Rows as :func:`curves_frame` returns them.
        title: Title of the figure.
        xlabel: Label of the horizontal axis.
        target: Accuracy to mark, 0 to 1.
        ends: Interval of the accuracy at the end of a run, by its label.
        models: Which models the accuracies are of.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    draw_curves(axes, frame, xlabel, ends, models)
    if target is not None:  # runs reach the target at very different costs
        axes.set_xscale("log")
        axes.set_xlim(90 * frame["spent"].min(), 110 * frame["spent"].max())
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_ylim(bottom=max(0.0, min(axes.get_ylim()[0], 100 * target - 3)))
        mark_target(axes, target)
    axes.set_title(title)
    return figure


def applied_frame(
    realised: CurvePoints, planned: CurvePoints, seed: int, planned_seed: int
) -> pd.DataFrame:
    """Return one row for each evaluated round of the realised and of the planned run.

    Columns: ``run`` (label), ``round``, ``accuracy`` (0 to 1). If both have the same seed, the
    frame holds the realised run alone.
    """
    curves = {f"realised, seed {seed}": realised}
    if seed != planned_seed:
        curves[f"planned, seed {planned_seed}"] = planned
    rows = [(label, r, accuracy) for label, points in curves.items() for r, _, accuracy in points]
    return pd.DataFrame(rows, columns=["run", "round", "accuracy"])


def draw_applied(
    frame: pd.DataFrame,
    title: str,
    interval: tuple[int, float, float, float] | None,
    models: str = PM,
) -> Figure:
    """Return a figure of validation accuracy in percent against rounds.

    Args:
        frame: Rows as :func:`applied_frame` returns them.
        title: Title of the figure.
        interval: Interval of the plan: round, lower end, expected accuracy and upper end, 0 to 1;
            None if it has none.
        models: Which models the accuracies are of.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for position, (label, run) in enumerate(frame.groupby("run", sort=False)):
        style = "--" if position else "-"
        axes.plot(run["round"], 100 * run["accuracy"], style, marker="o", markersize=3, label=label)
    if interval:
        label = f"expected by the plan, with its {100 * LEVEL:.0f} % interval"
        _draw_interval(axes, *interval, color="black", label=label)
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(f"validation accuracy of {models}, single evaluations (%)")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize="small")
    return figure


def _draw_interval(
    axes: Axes, x: float, low: float, mean: float, high: float, **style: Any
) -> None:
    """Draw an accuracy with its interval at one place, in percent."""
    ends = [[100 * (mean - low)], [100 * (high - mean)]]
    axes.errorbar([x], [100 * mean], yerr=ends, marker="D", capsize=4, linestyle="none", **style)


def front_frame(front: Sequence[FrontPoint]) -> pd.DataFrame:
    """Return one row for each point of a Pareto front, cheapest first.

    Columns: ``candidate`` (in words), ``rounds``, ``spent`` (fraction of the budget), ``accuracy``,
    ``low`` and ``high`` (0 to 1).
    """
    rows = [{**vars(point), "candidate": str(point.candidate)} for point in front]
    return pd.DataFrame(rows, columns=list(FrontPoint.__dataclass_fields__))


def draw_front(frame: pd.DataFrame, title: str, xlabel: str, models: str = PM) -> Figure:
    """Return a figure of the Pareto front: accuracy with its band against cost, on a log axis."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    spent, percent = 100 * frame["spent"], 100 * frame[["low", "accuracy", "high"]]
    axes.fill_between(spent, percent["low"], percent["high"], step="post", alpha=0.2)
    axes.step(spent, percent["accuracy"], where="post", marker="o")
    axes.set_xscale("log", subs=[2, 5])
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks("{x:g}")  # percent, not powers of ten
    axes.set_xlabel(xlabel)
    axes.set_ylabel(f"expected validation accuracy of {models} (%)")
    axes.grid(alpha=0.3)
    axes.set_title(title)
    return figure
