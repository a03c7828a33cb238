"""Plot of a fitted network: distributions of the speed tests and of the fitted classes."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from floss_sim.network.measured.fitting import Fit, distribution
from floss_sim.plots.figure import COLOURS


def fit_frame(fit: Fit) -> pd.DataFrame:
    """Return the distribution functions of speed tests and of the classes fitted to them.

    Columns: ``direction`` (down or up), ``kind`` (tests or classes), ``mbit_per_s``, and ``share``,
    the fraction of the weight at or below this rate.
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
    """Return a figure of the distribution functions of rates, for tests and fitted classes.

    Args:
        frame: The distribution functions, as :func:`fit_frame` returns them.
        title: The title, which names the fit and the speed tests.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, direction in zip(panels, ("down", "up"), strict=True):
        part = frame[frame["direction"] == direction]
        for kind, colour in zip(("tests", "classes"), COLOURS, strict=False):
            curve = part[part["kind"] == kind]
            _draw_distribution(axes, curve, part["mbit_per_s"], kind, colour)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(f"{direction}load rate (Mbit/s), logarithmic")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("share at or below the rate (%)")
    panels[0].legend(loc="upper left")
    # Without parse_math, a dollar sign in a file name would start a formula.
    figure.suptitle(title, fontsize="medium", parse_math=False)
    return figure


def _draw_distribution(
    axes: Axes, curve: pd.DataFrame, rates: pd.Series[float], kind: str, colour: str
) -> None:
    """Draw a distribution function in steps, from 0 % to the end of the axis."""
    x = [rates.min(), *curve["mbit_per_s"], rates.max()]
    y = [0.0, *(100 * curve["share"]), 100.0]
    axes.plot(x, y, drawstyle="steps-post", color=colour, label=kind)
