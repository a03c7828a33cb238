"""Plot of wire sizes: bits per kept entry of message formats against density."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from floss_sim.plots.figure import draw_line, line_styles
from floss_sim.vectors.density import format_density
from floss_sim.wire.size_table import Sizes

_WIDE_BITS = 128  # bits per entry that the y axis always shows: 64-bit position and value take 96


def formats_frame(sizes: Iterable[Sizes], values: Sequence[str]) -> pd.DataFrame:
    """Return the bits per kept entry of each format and each floor, at each density.

    A floor is the information bound of the positions plus the bits of a value code. Columns:
    ``format``, ``density``, ``bits``, and ``floor``, true for the rows of a floor.

    Args:
        sizes: The measured sizes, one for each density.
        values: Names of the value codes of the messages.
    """
    rows = []
    for one in sizes:
        floors = {f"floor + {name} values": one.floor_bytes(name) for name in values}
        rows += [(name, one, nbytes, True) for name, nbytes in floors.items()]
        rows += [(name, one, nbytes, False) for name, nbytes in one.formats(values).items()]
    listed = [(name, one.density, one.bits_per_entry(size), low) for name, one, size, low in rows]
    return pd.DataFrame(listed, columns=["format", "density", "bits", "floor"])


def draw_formats(frame: pd.DataFrame, title: str) -> Figure:
    """Return a figure of bits per kept entry against density, one line per format.

    Args:
        frame: The bits, as :func:`formats_frame` returns them.
        title: The title, which describes the encoded values.
    """
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    looks = line_styles()
    for name, points in frame.groupby("format", sort=False):
        line = points.sort_values("density")
        if line["floor"].all():  # wide and pale, so that lines drawn on top of it stay visible
            (pale,) = axes.plot(line["density"], line["bits"], color="0.8", label=str(name))
            pale.set(linewidth=8, marker="o", markersize=8)  # for a single density, only a marker
        else:
            draw_line(axes, line["density"], line["bits"], str(name), next(looks))
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
