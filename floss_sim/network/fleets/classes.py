"""Client links from the classes of a profile.

A fleet does not hold one object per client: a link is made on access. If the classes differ, the
fleet holds the number of each client's class, one or two bytes a client.

Every class has a fixed number of a fleet's clients, by its share. Which clients they are is drawn
by the seed of the network, or follows the clients' numbers.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, model_validator

from floss_sim.documents import Duration, Fraction, Section
from floss_sim.errors import ProfileError
from floss_sim.network.devices.compute import ComputeSection
from floss_sim.network.fleets.lognormal import LinkDraws, LinkLaw, LogDuration, LogRate
from floss_sim.network.link import ClientLink
from floss_sim.network.traces.rate_trace import RateTrace, trace_of
from floss_sim.network.traces.trace_files import read_trace
from floss_sim.rng import stream

KEPT_TRACES = "kept_traces"  # key of a validation context: values of traces by ``key``, no files
ClassOrder: TypeAlias = Literal["drawn", "by-number"]
_Classes: TypeAlias = NDArray[np.integer[Any]]  # number of the class of each client


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

    file: Annotated[str, Field(examples=["phone.trace"])]
    at_end: Literal["repeat", "hold"] = "repeat"
    bin: Duration = 0.1
    _rates: RateTrace = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Read the file, relative to the profile's folder, or its values in the context."""
        context = context or {}
        path = Path(context.get("folder", ".")) / self.file
        try:
            if KEPT_TRACES in context:
                self._rates = trace_of(context[KEPT_TRACES].get(self.key))
            else:
                self._rates = read_trace(path, self.at_end, self.bin)
        except ProfileError as error:
            raise ValueError(str(error)) from None

    @property
    def key(self) -> str:
        """Name of the trace among the kept ones: the file, and how it is read."""
        return f"{self.file}, {self.at_end}, {self.bin!r}"

    @property
    def rates(self) -> RateTrace:
        """Rate trace of the file."""
        return self._rates


class ClientClass(Section):
    """Client class: a share of the fleet whose links have one law; bits per second and seconds.

    The figures of a class are medians. Without a sigma, all its links are equal. ``correlation`` is
    the correlation of log down and log up. ``compute`` stands instead of ``compute_per_example``
    where the time of a step follows from its operations.
    """

    share: Annotated[float, Field(gt=0, le=1)]
    down: LogRate | None = None
    up: LogRate | None = None
    rtt: LogDuration
    compute_per_example: LogDuration | None = None
    compute: ComputeSection | None = None
    correlation: Annotated[float, Field(ge=-1, le=1)] = 0.0
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
            if self.correlation and given[0] is None:
                raise ValueError(f"correlation: not with {way}_trace; valid: with two rates")
        check_compute(self.compute_per_example, self.compute)
        return self

    def law(self) -> LinkLaw:
        """Return the law of the links; a trace has its mean rate and no spread."""
        link = self.link()
        rates = (link.down_bits_per_s, link.up_bits_per_s)
        down_sigma, up_sigma = (law.sigma if law else 0.0 for law in (self.down, self.up))
        compute, compute_sigma = link.compute_s_per_example, 0.0
        if self.compute:  # the slowness of a device is drawn
            compute, compute_sigma = 1.0, self.compute.sigma
        elif self.compute_per_example:
            compute_sigma = self.compute_per_example.sigma
        return LinkLaw(
            (*rates, link.rtt_s, compute),
            (down_sigma, up_sigma, self.rtt.sigma, compute_sigma),
            self.correlation,
        )

    def link(self) -> ClientLink:
        """Return the link with the figures of this class, which are the medians of its clients."""
        down = self.down_trace.rates if self.down_trace else None
        up = self.up_trace.rates if self.up_trace else None
        return ClientLink(
            down_bits_per_s=_nominal_rate(self.down, down),
            up_bits_per_s=_nominal_rate(self.up, up),
            rtt_s=self.rtt.median,
            compute_s_per_example=plain.median if (plain := self.compute_per_example) else 0.0,
            jitter_s=self.jitter,
            loss=self.loss,
            dropout=self.dropout,
            down_trace=down,
            up_trace=up,
            device=self.compute.speed if self.compute else None,
        )

    def mean_link(self) -> ClientLink:
        """Return the link with the expected figures of a client of this class."""
        return _with_figures(self.link(), self.law().means)


def _with_figures(link: ClientLink, figures: tuple[float, float, float, float]) -> ClientLink:
    """Return the link with other figures: down, up, round trip, compute time.

    With a device the last one is its slowness.
    """
    down, up, rtt, compute = figures
    link = replace(link, down_bits_per_s=down, up_bits_per_s=up, rtt_s=rtt)
    if link.device:
        return replace(link, device=replace(link.device, slowness=compute))
    return replace(link, compute_s_per_example=compute)


def check_compute(per_example: object, compute: ComputeSection | None) -> None:
    """Raise ValueError unless one of two ways to state the time of compute is given."""
    if (per_example is None) == (compute is None):
        raise ValueError(
            'compute_per_example: give it, such as "5 ms", or compute = { device = "NAME" }, one '
            "of the two"
        )


def _nominal_rate(law: LogRate | None, trace: RateTrace | None) -> float:
    """Return the median of a law, or the mean of a trace, in bits per second."""
    return trace.mean_bits_per_s if trace else law.median if law else 0.0


def fleet_of_classes(
    classes: Sequence[ClientClass], size: int, cells: int, seed: int, order: ClassOrder = "drawn"
) -> Fleet:
    """Return a fleet of classes.

    Place i of n belongs to the class whose cumulative share covers (i + 1/2) / n. Client i has
    place i if the order is ``"by-number"``, else a place that is drawn. It is in cell i modulo
    ``cells``.

    Args:
        classes: Client classes, whose shares add up to 1.
        size: Number of clients.
        cells: Number of cells in the middle tier; 0 if there is none.
        seed: Seed of the network: draws places, links and random starts of traces.
        order: ``"drawn"`` or ``"by-number"``.
    """
    links, laws = [group.link() for group in classes], [group.law() for group in classes]
    class_of_each = cache(lambda: _class_of_each(classes, size, seed, order))
    drawn = LinkDraws(laws, lambda clients: _padded(class_of_each(), clients), seed)
    starts_anywhere = [group.trace_start == "random" for group in classes]

    def link_of(client: int) -> ClientLink:
        index = class_of_each()[client] if len(classes) > 1 else 0
        link = links[index]
        if laws[index].is_drawn:
            link = _with_figures(link, drawn[client])
        trace = link.down_trace or link.up_trace
        if trace and starts_anywhere[index]:
            draw = stream(seed, "fleet", "client", client, "trace")
            link = replace(link, trace_offset_s=float(draw.uniform(0, trace.length_s)))
        return replace(link, cell=client % cells) if cells else link

    return Fleet(size, link_of)


def _class_of_each(
    classes: Sequence[ClientClass], size: int, seed: int, order: ClassOrder
) -> _Classes:
    """Return the number of each client's class (size,)."""
    kind = np.uint8 if len(classes) <= 256 else np.uint16
    numbers = np.arange(len(classes), dtype=kind)
    class_N: _Classes = np.repeat(numbers, _numbers_of_clients(classes, size))
    if order == "drawn":
        stream(seed, "fleet", "classes").shuffle(class_N)
    return class_N


def _numbers_of_clients(classes: Sequence[ClientClass], size: int) -> list[int]:
    """Return how many of ``size`` clients each class has."""
    shares = [group.share for group in classes]
    # Exact sums, then rounding: splitting a class does not move its end, and 0.1 + 0.2 is 0.3.
    ends = [round(math.fsum(shares[:i]), 12) for i in range(1, len(shares))]
    places = [bisect_right(range(size), end, key=lambda i: (i + 0.5) / size) for end in ends]
    return [end - start for start, end in pairwise([0, *places, size])]


def _padded(class_N: _Classes, clients: range) -> _Classes:
    """Return the classes of some clients; class 0 for numbers beyond the fleet."""
    found = class_N[clients.start : clients.stop]
    return np.pad(found, (0, len(clients) - len(found)))
