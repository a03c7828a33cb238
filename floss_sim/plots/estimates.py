"""Plot of a sweep of estimates: bytes of a message and seconds of a round."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from floss_sim.analysis.estimate import Estimate
from floss_sim.analysis.round_parts import FRAMEWORK, ROUND_PARTS
from floss_sim.plots.figure import COLOURS
from floss_sim.units import common_unit, format_bytes, format_duration

_LEAST_SHARE = 0.005  # of a round; smaller parts are not drawn


def estimates_frame(made: Mapping[str, Estimate]) -> pd.DataFrame:
    """Return one row for each value of a sweep.

    Columns: ``value``; bytes of a message on the link (``down``, ``up``) and as dense NumPy arrays
    (``numpy``); seconds of a round (``low_s``, ``median_s``, ``high_s``); and seconds of each part
    of the median round.
    """
    rows = []
    for value, one in made.items():
        spread = one.time.per_round(one.deployment.rounds)
        rows.append(
            {
                "value": value,
                "down": one.message("down").link,
                "up": one.message("up").link,
                "numpy": one.dense_numpy_bytes,
                "low_s": spread.low_s,
                "median_s": spread.median_s,
                "high_s": spread.high_s,
                **{part: one.shares[part] * spread.median_s for part in ROUND_PARTS},
                FRAMEWORK: one.shares.get(FRAMEWORK, 0.0) * spread.median_s,
            }
        )
    return pd.DataFrame(rows)


def draw_estimates(frame: pd.DataFrame, option: str) -> Figure:
    """Return a figure of message bytes and of the parts of a round, for each value of an option."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_bytes(left, frame)
    _draw_seconds(right, frame)
    for axes in (left, right):
        axes.set_xticks(range(len(frame)), frame["value"])
        axes.set_xlabel(option)
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
    return figure


def _draw_bytes(axes: Axes, frame: pd.DataFrame) -> None:
    kinds = {"down": "download", "up": "upload", "numpy": "dense NumPy"}
    width = 0.8 / len(kinds)
    for number, (column, label) in enumerate(kinds.items()):
        places = [i + (number - 1) * width for i in range(len(frame))]
        colour = "0.75" if column == "numpy" else COLOURS[number]
        axes.bar(places, frame[column], width, label=label, color=colour)
    axes.yaxis.set_major_formatter(lambda value, _: format_bytes(value))
    axes.set_title("bytes of a message on the link")
    axes.legend(fontsize="small")


def _draw_seconds(axes: Axes, frame: pd.DataFrame) -> None:
    bottom = pd.Series(0.0, index=frame.index)
    for number, part in enumerate((*ROUND_PARTS, FRAMEWORK)):
        if (frame[part] > _LEAST_SHARE * frame["median_s"]).any():
            axes.bar(range(len(frame)), frame[part], 0.6, bottom=bottom, label=part,
                     color=COLOURS[number])  # fmt: skip
            bottom += frame[part]
    below, above = frame["median_s"] - frame["low_s"], frame["high_s"] - frame["median_s"]
    axes.errorbar(range(len(frame)), frame["median_s"], [below, above], fmt="none", ecolor="black",
                  capsize=3, label="5 to 95 % of fleets")  # fmt: skip
    unit = common_unit([*frame["median_s"], *frame["high_s"]])
    axes.yaxis.set_major_formatter(lambda value, _: format_duration(value, unit))
    axes.set_title("time of a round, median of fleets")
    axes.legend(fontsize="small")
