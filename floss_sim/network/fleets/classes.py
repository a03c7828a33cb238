"""Client links from the classes of a profile.

A fleet does not hold one object per client: a link is made on access.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, overload

from pydantic import Field, PrivateAttr, model_validator

from floss_sim.documents import Duration, Fraction, Rate, Section
from floss_sim.errors import ProfileError
from floss_sim.network.link import ClientLink
from floss_sim.network.traces.rate_trace import RateTrace
from floss_sim.network.traces.trace_files import read_trace
from floss_sim.rng import stream


class Fleet(Sequence[ClientLink]):
    """Sequence of client links, by client number; each link is made on access."""

    def __init__(self, size: int, link_of: Callable[[int], ClientLink]) -> None:
        self._size = size
        self._link_of = link_of

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, client: int) -> ClientLink: ...
    @overload
    def __getitem__(self, client: slice) -> tuple[ClientLink, ...]: ...
    def __getitem__(self, client: int | slice) -> ClientLink | tuple[ClientLink, ...]:
        if isinstance(client, slice):
            return tuple(self._link_of(i) for i in range(*client.indices(self._size)))
        if not 0 <= client < self._size:
            raise IndexError(client)
        return self._link_of(client)


class TraceSection(Section):
    """File of rates over time; ``bin`` is the width of mahimahi's bins in seconds.

    ``at_end`` sets the rate after the end of the trace: repeat the trace, or hold its last rate.
    """

    file: str
    at_end: Literal["repeat", "hold"] = "repeat"
    bin: Duration = 0.1
    _rates: RateTrace = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Read the file, relative to the profile's folder."""
        path = Path((context or {}).get("folder", ".")) / self.file
        try:
            self._rates = read_trace(path, self.at_end, self.bin)
        except ProfileError as error:
            raise ValueError(str(error)) from None

    @property
    def rates(self) -> RateTrace:
        """Rate trace of the file."""
        return self._rates


class ClientClass(Section):
    """Client class: a share of the fleet with equal links; bits per second and seconds."""

    share: Annotated[float, Field(gt=0, le=1)]
    down: Rate | None = None
    up: Rate | None = None
    rtt: Duration
    compute_per_example: Duration
    jitter: Duration = 0.0
    loss: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    dropout: Fraction = 0.0
    down_trace: TraceSection | None = None
    up_trace: TraceSection | None = None
    trace_start: Literal["same", "random"] = "same"

    @model_validator(mode="after")
    def _check_rates(self) -> ClientClass:
        for way in ("down", "up"):
            given = [getattr(self, way), getattr(self, f"{way}_trace")]
            if given.count(None) != 1:
                raise ValueError(f"{way}: give a rate or a trace ({way}_trace), one of the two")
        return self

    def link(self) -> ClientLink:
        """Return the link of a client of this class."""
        down = self.down_trace.rates if self.down_trace else None
        up = self.up_trace.rates if self.up_trace else None
        return ClientLink(
            down_bits_per_s=down.mean_bits_per_s if down else self.down or 0.0,
            up_bits_per_s=up.mean_bits_per_s if up else self.up or 0.0,
            rtt_s=self.rtt,
            compute_s_per_example=self.compute_per_example,
            jitter_s=self.jitter,
            loss=self.loss,
            dropout=self.dropout,
            down_trace=down,
            up_trace=up,
        )


def fleet_of_classes(classes: Sequence[ClientClass], size: int, cells: int, seed: int) -> Fleet:
    """Return a fleet of classes.

    Client i of n belongs to the class whose cumulative share covers (i + 1/2) / n, and to cell i
    modulo ``cells``.

    Args:
        classes: Client classes, whose shares add up to 1.
        size: Number of clients.
        cells: Number of cells in the middle tier; 0 if there is none.
        seed: Seed of the network, for random offsets in traces.
    """
    shares = [group.share for group in classes]
    # Exact sums, then rounding: splitting a class does not move its end, and 0.1 + 0.2 is 0.3.
    ends = [round(math.fsum(shares[:i]), 12) for i in range(1, len(shares))]
    links = [group.link() for group in classes]

    def link_of(client: int) -> ClientLink:
        index = bisect_left(ends, (client + 0.5) / size)
        link = links[index]
        trace = link.down_trace or link.up_trace
        if trace and classes[index].trace_start == "random":
            draw = stream(seed, "fleet", "client", client, "trace")
            link = replace(link, trace_offset_s=float(draw.uniform(0, trace.length_s)))
        return replace(link, cell=client % cells) if cells else link

    return Fleet(size, link_of)
