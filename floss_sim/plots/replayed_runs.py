"""Plots of re-timed runs: accuracy on several networks, and time to a target over a sweep."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from floss_sim.analysis.crossover import Crossover
from floss_sim.analysis.what_if import Scenario
from floss_sim.plots.accuracy import (
    comparison_frame,
    draw_configuration,
    draw_time_interval,
    fleets_phrase,
    seeds_phrase,
)
from floss_sim.plots.figure import (
    LOG_SCALE_RATIO,
    axis_unit,
    draw_legend,
    draw_line,
    line_styles,
    make_panels,
    mark_target,
    scale_x,
    write_plainly,
)


def _scale_y(axes: Axes, lowest: float, highest: float) -> str:
    """Set a linear or log y axis by the extreme values; return the addition to its label."""
    if highest <= LOG_SCALE_RATIO * lowest:
        axes.set_ylim(bottom=0)
        return ""
    axes.set_yscale("log", subs=[2, 5])
    return write_plainly(axes.yaxis)


def replay_frame(scenarios: Iterable[Scenario]) -> pd.DataFrame:
    """Return one row for each point of each scenario, in the given order.

    Columns: the columns of :func:`comparison_frame`, and ``network``.
    """
    frames = [comparison_frame([one.configuration]).assign(network=one.title) for one in scenarios]
    return pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)


def draw_replay(frame: pd.DataFrame, task: str, *, target: float | None = None) -> Figure:
    """Return a figure of mean accuracy in percent against simulated time, one line per network.

    Args:
        frame: The points, as :func:`replay_frame` returns them; not empty. Each label has its own
            axes.
        task: Name of the task in the title.
        target: A target accuracy, 0 to 1, to mark; or None.
    """
    groups = frame.groupby("label", sort=False)
    figure, panels = make_panels(len(groups))
    looks = dict(zip(frame["network"].unique(), line_styles(), strict=False))
    name, unit, unit_name = axis_unit("closed_at_s", frame["closed_at_s"].max())
    for axes, (label, lines) in zip(panels, groups, strict=True):
        for network, curve in lines.groupby("network", sort=False):
            place = curve["closed_at_s"] / unit
            draw_configuration(axes, curve, place, str(network), looks[network])
            draw_time_interval(axes, curve, unit, looks[network])
        mark_target(axes, target)
        axes.set_title(textwrap.fill(str(label), 44), fontsize="medium")
    scale = scale_x(panels[0], list(frame.groupby(["label", "network"])["closed_at_s"].max()))
    figure.suptitle(f"{task}: {seeds_phrase(frame)}", fontsize="medium")
    label = f"{name} ({unit_name}){scale}{fleets_phrase(frame)}"
    figure.supxlabel(label, fontsize="medium")
    figure.supylabel("validation accuracy of P·M (%)", fontsize="medium")
    draw_legend(figure, panels)
    return figure


def crossover_frame(crossovers: Iterable[Crossover]) -> pd.DataFrame:
    """Return one row for each configuration and value of the sweep where the target is reached.

    Columns: ``network``, ``position`` and ``value`` of the sweep, ``label``, ``seconds`` (median
    over fleets), ``low_s`` and ``high_s`` (5 and 95 %).
    """
    rows = [
        (crossover.network, position, value, label, time.median_s, time.low_s, time.high_s)
        for crossover in crossovers
        for position, value in enumerate(crossover.sweep.values)
        for label, time in zip(crossover.labels, crossover.times[position], strict=True)
        if time is not None
    ]
    return pd.DataFrame(
        rows, columns=["network", "position", "value", "label", "seconds", "low_s", "high_s"]
    )


def draw_crossovers(frame: pd.DataFrame, title: str, swept: str) -> Figure:
    """Return a figure of the time to a target over the swept values, one line per configuration.

    Args:
        frame: The times, as :func:`crossover_frame` returns them; not empty. Each network has its
            own axes.
        title: The title of the figure.
        swept: The label of the x axis: the name of the swept property.
    """
    groups = frame.groupby("network", sort=False)
    figure, panels = make_panels(len(groups))
    looks = dict(zip(frame["label"].unique(), line_styles(), strict=False))
    _, unit, unit_name = axis_unit("closed_at_s", frame["seconds"].max())
    for axes, (network, lines) in zip(panels, groups, strict=True):
        for label, line in lines.groupby("label", sort=False):
            draw_line(axes, line["position"], line["seconds"] / unit, str(label), looks[label])
            low, high = line["low_s"] / unit, line["high_s"] / unit
            axes.fill_between(line["position"], low, high, color=looks[label][0], alpha=0.13)
        axes.set_title(textwrap.fill(str(network), 44), fontsize="medium")
        axes.set_xticks(lines["position"].unique(), lines["value"].unique())
    scale = _scale_y(panels[0], frame["seconds"].min(), frame["seconds"].max())
    drawn = (frame["high_s"] > frame["low_s"]).any()
    spread = "\nmedian over fleets, band from 5 to 95 %" if drawn else ""
    figure.suptitle(title + spread, fontsize="medium")
    figure.supxlabel(swept, fontsize="medium")
    figure.supylabel(f"simulated time to the target ({unit_name}){scale}", fontsize="medium")
    draw_legend(figure, panels)
    return figure
