"""Drawing only: a DataFrame in, one Axes filled. Every number drawn is computed elsewhere."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from floss_sim.comparison import Configuration
from floss_sim.crossover import Crossover
from floss_sim.errors import RecordError
from floss_sim.network.fitting import Fit, distribution
from floss_sim.vectors.density import format_density
from floss_sim.whatif import Scenario
from floss_sim.wire.survey import Sizes

_AXES: Mapping[str, tuple[str, float]] = {
    "round": ("round", 1),
    "closed_at_s": ("simulated time (s)", 1),
    "total_bytes": ("bytes of all clients, both directions (MB)", 1e-6),
}
_Units = Sequence[tuple[float, str]]
_UNITS: Mapping[str, tuple[str, _Units]] = {  # the unit follows what is drawn
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
# Okabe and Ito's colours, which the colour-blind tell apart, without their yellow. The three
# cycles have no common divisor: 105 lines look different, and neighbours differ in all three.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (9, 3)))
_MARKERS = ("o", "s", "^")
_Look = tuple[str, Any, str]  # colour, dashes, marker
_LEGEND_WIDTH = 34  # characters of a line
_COLUMNS = 3  # of small axes beside each other
_CROWDED = 300.0  # ratio of a logarithmic axis' ends from which powers of ten alone are named
_WIDE_BITS = 128  # of an entry: a 64-bit position and a value take 96
_LOG_FROM = 8.0  # where one configuration goes that many times as far as another, x is logarithmic


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
    # Tiers take many words: above the axes they are wrapped, where a legend would cover them.
    figure.suptitle("\n".join([title, *textwrap.wrap(label, 110)]), fontsize="medium")
    return figure


def comparison_frame(configurations: Iterable[Configuration]) -> pd.DataFrame:
    """Return one row for each point of each configuration, in their order.

    Columns: ``label``, ``seeds`` (how many), and the fields of ``comparison.Point``.
    """
    rows = [
        {"label": configuration.label, "seeds": len(configuration.runs), **asdict(point)}
        for configuration in configurations
        for point in configuration.points
    ]
    return pd.DataFrame(rows)


def draw_comparison(
    frame: pd.DataFrame, x: str, task: str, *, target: float | None = None, at: float | None = None
) -> Figure:
    """Return a figure of mean validation accuracy in percent, one line and band a configuration.

    The band goes from the lowest to the highest seed at each evaluated round; x is the seeds'
    mean at that round.

    Args:
        frame: As :func:`comparison_frame` returns it; the legend keeps its order.
        x: ``round``, ``closed_at_s`` or ``total_bytes``.
        task: Named in the title.
        target: An accuracy, 0 to 1, to mark.
        at: A place on the axis of x to mark, in the column's unit.
    """
    groups = frame.groupby("label", sort=False)
    curves = [(textwrap.fill(str(label), _LEGEND_WIDTH), curve) for label, curve in groups]
    rows = sum(1 + label.count("\n") for label, _ in curves)
    figure = Figure(figsize=(10, max(5.0, 0.5 + 0.18 * rows)), layout="constrained")  # inches
    axes = figure.subplots()
    name, unit, unit_name = _unit(x, frame[x].max())
    for (label, curve), look in zip(curves, _looks(), strict=False):
        _draw_configuration(axes, curve, curve[x] / unit, label, look)
    mark_target(axes, target)
    if at is not None:
        axes.axvline(at / unit, color="0.4", linewidth=0.8)
    scale = _scale_x(axes, [float(curve[x].max()) for _, curve in curves])
    axes.set_xlabel((f"{name} ({unit_name})" if unit_name else name) + scale)
    axes.set_ylabel("validation accuracy of P·M (%)")
    axes.grid(alpha=0.3)
    axes.set_title(f"{task}: {_what_is_drawn(frame)}")
    figure.legend(loc="outside right center", fontsize="small", handlelength=3.6)
    return figure


def mark_target(axes: Axes, target: float | None) -> None:
    """Mark an accuracy, 0 to 1, that is to be reached, if there is one."""
    if target is None:
        return
    axes.axhline(100 * target, color="0.4", linewidth=0.8)
    axes.annotate(
        f"target {100 * target:g} %", (0, 100 * target), (3, 2),
        xycoords=("axes fraction", "data"), textcoords="offset points", fontsize="x-small",
    )  # fmt: skip


def _draw_configuration(
    axes: Axes, curve: pd.DataFrame, place: pd.Series[float], label: str, look: _Look
) -> None:
    _draw_line(axes, place, 100 * curve["accuracy"], label, look)
    if curve["seeds"].iloc[0] > 1:
        low, high = 100 * curve["lowest"], 100 * curve["highest"]
        axes.fill_between(place, low, high, color=look[0], alpha=0.13, linewidth=0)


def _draw_line(
    axes: Axes, place: pd.Series[float], height: pd.Series[float], label: str, look: _Look
) -> None:
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


def _looks() -> Iterator[_Look]:
    return zip(cycle(_COLOURS), cycle(_DASHES), cycle(_MARKERS), strict=False)


def _unit(x: str, largest: float) -> tuple[str, float, str]:
    """Return what a column's axis is called, and the unit that suits its largest value."""
    name, units = _UNITS[x]
    return name, *next((unit for unit in units if largest >= unit[0]), units[-1])


def _scale_x(axes: Axes, ends: Sequence[float]) -> str:
    """Scale the axis of x by where the curves end; return what its label must say of it."""
    if max(ends) <= _LOG_FROM * min(ends):
        axes.set_xlim(left=0)
        axes.locator_params("x", integer=max(ends) > 10)  # rounds are whole
        return ""
    axes.set_xscale("log", subs=[2, 5])
    return _write_plainly(axes.xaxis)


def _scale_y(axes: Axes, lowest: float, highest: float) -> str:
    """Scale the axis of y likewise, by the lowest and the highest value."""
    if highest <= _LOG_FROM * lowest:
        axes.set_ylim(bottom=0)
        return ""
    axes.set_yscale("log", subs=[2, 5])
    return _write_plainly(axes.yaxis)


def _write_plainly(axis: Axis) -> str:
    low, high = axis.get_view_interval()
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("{x:g}" if high < _CROWDED * low else NullFormatter())
    return ", logarithmic"


def _what_is_drawn(frame: pd.DataFrame) -> str:
    seeds = sorted(set(frame["seeds"]))
    if seeds == [1]:
        return "one seed each"
    counts = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return f"mean of {counts} seeds, band from the lowest to the highest"


def fit_frame(fit: Fit) -> pd.DataFrame:
    """Return the distribution functions of speed tests and of the classes fitted to them.

    Columns: ``direction`` (down or up), ``kind`` (tests or classes), ``mbit_per_s`` and ``share``,
    the share of the weight at or below the rate.
    """
    tests = fit.tests
    frames = []
    for direction, kind, rates, weights in (
        ("down", "tests", tests.down_bits_per_s, tests.weights),
        ("down", "classes", fit.down_bits_per_s, fit.shares),
        ("up", "tests", tests.up_bits_per_s, tests.weights),
        ("up", "classes", fit.up_bits_per_s, fit.shares),
    ):
        rate, share = distribution(rates, weights)
        columns = {"direction": direction, "kind": kind, "mbit_per_s": rate / 1e6, "share": share}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def draw_fit(frame: pd.DataFrame, title: str) -> Figure:
    """Return a figure of the shares of tests and of clients that are at or below each rate.

    Args:
        frame: As :func:`fit_frame` returns it.
        title: Says what was fitted to what.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, direction in zip(panels, ("down", "up"), strict=True):
        part = frame[frame["direction"] == direction]
        for kind, colour in zip(("tests", "classes"), _COLOURS, strict=False):
            curve = part[part["kind"] == kind]
            _draw_distribution(axes, curve, part["mbit_per_s"], kind, colour)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(f"{direction}load rate (Mbit/s), logarithmic")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("share at or below the rate (%)")
    panels[0].legend(loc="upper left")
    figure.suptitle(title, fontsize="medium", parse_math=False)  # file names may hold a dollar
    return figure


def _draw_distribution(
    axes: Axes, curve: pd.DataFrame, rates: pd.Series[float], kind: str, colour: str
) -> None:
    """Draw a distribution function in steps, from 0 % to the end of the axis."""
    x = [rates.min(), *curve["mbit_per_s"], rates.max()]
    y = [0.0, *(100 * curve["share"]), 100.0]
    axes.plot(x, y, drawstyle="steps-post", color=colour, label=kind)


def replay_frame(scenarios: Iterable[Scenario]) -> pd.DataFrame:
    """Return one row for each point of each scenario, in their order.

    Columns: those of :func:`comparison_frame`, and ``network``.
    """
    frames = [comparison_frame([one.configuration]).assign(network=one.title) for one in scenarios]
    return pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)


def draw_replay(frame: pd.DataFrame, task: str, *, target: float | None = None) -> Figure:
    """Return a figure of mean accuracy in percent against simulated time, one line a network.

    Args:
        frame: As :func:`replay_frame` returns it, not empty; each label gets its own axes.
        task: Named in the title.
        target: An accuracy, 0 to 1, to mark.
    """
    groups = frame.groupby("label", sort=False)
    figure, panels = _panels(len(groups))
    looks = dict(zip(frame["network"].unique(), _looks(), strict=False))
    name, unit, unit_name = _unit("closed_at_s", frame["closed_at_s"].max())
    for axes, (label, lines) in zip(panels, groups, strict=True):
        for network, curve in lines.groupby("network", sort=False):
            place = curve["closed_at_s"] / unit
            _draw_configuration(axes, curve, place, str(network), looks[network])
        mark_target(axes, target)
        axes.set_title(textwrap.fill(str(label), 44), fontsize="medium")
    scale = _scale_x(panels[0], list(frame.groupby(["label", "network"])["closed_at_s"].max()))
    figure.suptitle(f"{task}: {_what_is_drawn(frame)}", fontsize="medium")
    figure.supxlabel(f"{name} ({unit_name}){scale}", fontsize="medium")
    figure.supylabel("validation accuracy of P·M (%)", fontsize="medium")
    _legend(figure, panels)
    return figure


def crossover_frame(crossovers: Iterable[Crossover]) -> pd.DataFrame:
    """Return one row for each time that a configuration needs, where it reaches the target.

    Columns: ``network``, ``position`` and ``value`` of the sweep, ``label``, ``seconds``.
    """
    rows = [
        (crossover.network, position, value, label, one)
        for crossover in crossovers
        for position, value in enumerate(crossover.sweep.values)
        for label, one in zip(crossover.labels, crossover.seconds[position], strict=True)
        if one is not None
    ]
    return pd.DataFrame(rows, columns=["network", "position", "value", "label", "seconds"])


def draw_crossovers(frame: pd.DataFrame, title: str, swept: str) -> Figure:
    """Return a figure of the time to a target against what is swept, one line a configuration.

    Args:
        frame: As :func:`crossover_frame` returns it, not empty; each network gets its own axes.
        title: The figure's.
        swept: What the values are of.
    """
    groups = frame.groupby("network", sort=False)
    figure, panels = _panels(len(groups))
    looks = dict(zip(frame["label"].unique(), _looks(), strict=False))
    _, unit, unit_name = _unit("closed_at_s", frame["seconds"].max())
    for axes, (network, lines) in zip(panels, groups, strict=True):
        for label, line in lines.groupby("label", sort=False):
            _draw_line(axes, line["position"], line["seconds"] / unit, str(label), looks[label])
        axes.set_title(textwrap.fill(str(network), 44), fontsize="medium")
        axes.set_xticks(lines["position"].unique(), lines["value"].unique())
    scale = _scale_y(panels[0], frame["seconds"].min(), frame["seconds"].max())
    figure.suptitle(title, fontsize="medium")
    figure.supxlabel(swept, fontsize="medium")
    figure.supylabel(f"simulated time to the target ({unit_name}){scale}", fontsize="medium")
    _legend(figure, panels)
    return figure


def formats_frame(sizes: Iterable[Sizes], values: Sequence[str]) -> pd.DataFrame:
    """Return the bits per kept entry of each format at each density, and of their floors.

    Columns: ``format``, ``density``, ``bits`` and ``floor``, whether it is one: that of positions,
    and a value code's bits.

    Args:
        sizes: One for each density.
        values: Value codes of the messages.
    """
    rows = []
    for one in sizes:
        floors = {f"floor + {name} values": one.floor_bytes(name) for name in values}
        rows += [(name, one, nbytes, True) for name, nbytes in floors.items()]
        rows += [(name, one, nbytes, False) for name, nbytes in one.formats(values).items()]
    listed = [(name, one.density, one.bits_per_entry(size), low) for name, one, size, low in rows]
    return pd.DataFrame(listed, columns=["format", "density", "bits", "floor"])


def draw_formats(frame: pd.DataFrame, title: str) -> Figure:
    """Return a figure of bits per kept entry against density, one line a format.

    Args:
        frame: As :func:`formats_frame` returns it.
        title: Says what was encoded.
    """
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    looks = _looks()
    for name, points in frame.groupby("format", sort=False):
        line = points.sort_values("density")
        if line["floor"].all():  # wide and pale, below the messages that reach it
            (pale,) = axes.plot(line["density"], line["bits"], color="0.8", label=str(name))
            pale.set(linewidth=8, marker="o", markersize=8)  # one density has no line
        else:
            _draw_line(axes, line["density"], line["bits"], str(name), next(looks))
    densities = sorted(frame["density"].unique())
    axes.set_xscale("log", base=2)
    axes.set_xticks(densities, [format_density(density) for density in densities])
    axes.xaxis.set_minor_formatter(NullFormatter())
    top = max(_WIDE_BITS, 2 * frame.groupby("density")["bits"].min().max())
    axes.set_ylim(0, top)
    cut = ", cut above" if frame["bits"].max() > top else ""
    axes.set_xlabel("density, logarithmic")
    axes.set_ylabel(f"bits per kept entry, frame included{cut}")
    axes.grid(alpha=0.3)
    axes.set_title(title)
    figure.legend(loc="outside right center", fontsize="small", handlelength=3.6)
    return figure


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure and some small axes of it, which share their scales."""
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    size = (2.5 + 4.0 * columns, 1.0 + 3.0 * rows)  # inches
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for number, axes in enumerate(grid):
        axes.grid(alpha=0.3)
        axes.set_visible(number < count)
    return figure, list(grid[:count])


def _legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """Name each line once, beside the axes."""
    lines = {str(line.get_label()): line for axes in panels for line in axes.lines}
    named = {label: line for label, line in lines.items() if not label.startswith("_")}
    figure.legend(
        list(named.values()),
        [textwrap.fill(label, _LEGEND_WIDTH) for label in named],
        loc="outside right center",
        fontsize="small",
        handlelength=3.6,
    )


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
