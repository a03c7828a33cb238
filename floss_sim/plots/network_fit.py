"""Plot of a fitted network: distributions of rates, round trips and round times, tests and fit."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from floss_sim.network.measured.fit_figures import ROUNDS, WaitAllRound
from floss_sim.network.measured.fit_report import law_text
from floss_sim.network.measured.fitting import Fit
from floss_sim.network.measured.weighted_links import WeightedLinks
from floss_sim.network.measured.weighted_statistics import FloatArray, distribution
from floss_sim.plots.figure import COLOURS, write_plainly
from floss_sim.units import format_bytes

_ROUND: WaitAllRound = ROUNDS[-1]  # the largest
_PANELS = {
    "down": "download rate (Mbit/s)",
    "up": "upload rate (Mbit/s)",
    "rtt": "round trip (ms)",
    "round": f"round of {_ROUND.clients} clients, {format_bytes(_ROUND.nbytes)} each way (s)",
}
_HIDDEN_SHARE = 5e-4  # share at each end of a distribution that may lie outside of the axis
_STYLES = ((COLOURS[0], 3.5, "-"), (COLOURS[1], 1.4, "--"))  # the fit lies above the tests


def fit_frame(fit: Fit) -> pd.DataFrame:
    """Return the distribution functions of speed tests and of the law fitted to them.

    Columns: ``quantity`` (``down``, ``up``, ``rtt`` or ``round``), ``kind`` (``tests`` or ``fit``),
    ``value`` (in Mbit/s, ms or s), and ``share``, the fraction of clients, or of rounds, at or
    below this value. A round is one of 50 clients with 5 MB.
    """
    frames = [
        pd.DataFrame({"quantity": quantity, "kind": kind, "value": value, "share": share})
        for kind, links in (("tests", fit.tests.links), ("fit", fit.links))
        for quantity, value, share in _distributions(links)
    ]
    return pd.concat(frames, ignore_index=True)


def _distributions(links: WeightedLinks) -> Iterator[tuple[str, FloatArray, FloatArray]]:
    for quantity, values in (
        ("down", links.down_bits_per_s / 1e6),
        ("up", links.up_bits_per_s / 1e6),
        ("rtt", links.rtt_s * 1e3),
    ):
        yield quantity, *distribution(values, links.weights)
    seconds, share = distribution(links.exchange_s(_ROUND.nbytes), links.weights)
    yield "round", seconds, share**_ROUND.clients


def draw_fit(frame: pd.DataFrame, fit: Fit) -> Figure:
    """Return a figure of the distribution functions; the legend names tests and law.

    Args:
        frame: The distribution functions, as :func:`fit_frame` returns them.
        fit: The fit, for title and legend.
    """
    size, source = fit.tests.weights.size, fit.tests.source
    own = ", a test drawn for each client" if fit.law == "rows" else ""
    labels = {"tests": f"the {size:,} speed tests", "fit": f"fit: {law_text(fit)}{own}"}
    figure = Figure(figsize=(10, 7), layout="constrained")
    panels = figure.subplots(2, 2, sharey=True)
    for axes, (quantity, title) in zip(panels.flat, _PANELS.items(), strict=True):
        part = frame[frame["quantity"] == quantity]
        for (kind, label), style in zip(labels.items(), _STYLES, strict=True):
            _draw_distribution(axes, part[part["kind"] == kind], part["value"], label, style)
        axes.set_xscale("log", subs=[2, 5])
        _show_shares(axes, part)
        axes.set_xlabel(f"{title}{write_plainly(axes.xaxis)}")
        axes.grid(alpha=0.3)
    for axes in panels[:, 0]:
        axes.set_ylabel("share at or below (%)")
    panels[0, 0].legend(loc="upper left")
    # Without parse_math, a dollar sign in a file name would start a formula.
    figure.suptitle(f"Network fitted to {source}", fontsize="medium", parse_math=False)
    return figure


def _show_shares(axes: Axes, curves: pd.DataFrame) -> None:
    """Set the axis to the values between the lowest and the highest 0.05 % of both curves."""
    begun = curves.loc[curves["share"] >= _HIDDEN_SHARE, "value"]
    ends = curves[curves["share"] >= 1 - _HIDDEN_SHARE].groupby("kind")["value"].min()
    low, high = begun.min(), max(ends.max(), begun.min())
    margin = (high / low) ** 0.05 if high > low else 2.0
    axes.set_xlim(low / margin, high * margin)


def _draw_distribution(
    axes: Axes,
    curve: pd.DataFrame,
    values: pd.Series[float],
    label: str,
    style: tuple[str, float, str],
) -> None:
    """Draw a distribution function in steps, from 0 % to the end of the axis."""
    colour, width, dashes = style
    x = [values.min(), *curve["value"], values.max()]
    y = [0.0, *(100 * curve["share"]), 100.0]
    axes.plot(
        x, y, drawstyle="steps-post", color=colour, linewidth=width, linestyle=dashes, label=label
    )
