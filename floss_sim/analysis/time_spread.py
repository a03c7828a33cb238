"""Spread of a run's simulated time over fleets that a network profile may draw.

One convention holds for every quantile of seconds: among F sorted draws the quantile q stands at
position q (F + 1), with linear interpolation between neighbours, and at the lowest or highest draw
beyond them (Weibull 1939; ``method="weibull"`` of ``numpy.quantile``). A further fleet is then at
or below it with probability q, whatever the law of the seconds. The quantile 1/2 is the usual
median.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from floss_sim.units import common_unit, format_duration

LOW, MEDIAN, HIGH = 0.05, 0.5, 0.95  # the quantiles that are shown
SPREAD_LEGEND = "median (5 to 95 %) over fleets that the network may draw, same cohorts"
PROBED_LEGEND = "≈: the first rounds of each fleet are exact, the others are scaled"
SHAPED_NOTE = "time shaped its training, so another fleet is another run with another model"
Method = Literal["closed form", "simulated", "probed", "recorded", "measured"]


def nothing_drawn_note(network: str) -> str:
    """Return the sentence on a network of which every seed is the same."""
    return f"{network} is the same for every seed: one time"


def traffic_alone_note(network: str) -> str:
    """Return the sentence on a network without round trip and compute."""
    return (
        f"{network} has no round trip and no compute: its seconds are those of traffic alone, and "
        "real rounds take longer"
    )


def fleet_quantile(seconds: ArrayLike, fraction: float) -> NDArray[np.float64]:
    """Return a quantile over fleets, by this module's convention.

    Args:
        seconds: Seconds by fleet; the first axis is the fleet.
        fraction: The quantile, 0 to 1.
    """
    found: NDArray[np.float64] = np.quantile(
        np.asarray(seconds, dtype=np.float64), fraction, axis=0, method="weibull"
    )
    return found


@dataclass(frozen=True)
class TimeSpread:
    """Simulated time of one run on fleets drawn from a profile by consecutive seeds.

    Attributes:
        seconds: Seconds by fleet; the first fleet is that of the profile's own seed. One value
            where the profile draws nothing, or where only the recorded time is known.
        method: How the seconds were found. ``"closed form"`` and ``"simulated"`` are exact;
            ``"probed"``: the first rounds of each fleet are exact, and their ratio to the nominal
            times scales the others; ``"recorded"``: the one time of the record, because time
            shapes training; ``"measured"``: the one time that a deployment's server measured.

    Example:
        >>> from floss_sim import TimeSpread
        >>> slow = TimeSpread((30.0, 20.0, 40.0), "closed form")
        >>> slow.text
        '30 s (20 s to 40 s)'
        >>> fast = TimeSpread((20.0, 30.0, 10.0), "closed form")  # on the same three fleets
        >>> round(fast.fraction_faster(slow), 2)
        0.67
    """

    seconds: tuple[float, ...]
    method: Method

    @cached_property
    def median_s(self) -> float:
        """The median over the fleets, in seconds."""
        return float(fleet_quantile(self.seconds, MEDIAN))

    @cached_property
    def low_s(self) -> float:
        """The quantile of 5 % of the fleets, in seconds."""
        return float(fleet_quantile(self.seconds, LOW))

    @cached_property
    def high_s(self) -> float:
        """The quantile of 95 % of the fleets, in seconds."""
        return float(fleet_quantile(self.seconds, HIGH))

    @property
    def draws(self) -> int:
        """The number of fleets."""
        return len(self.seconds)

    @property
    def text(self) -> str:
        """The median with its interval: ``20 s (12 s to 3.7 min)``; one fleet has no interval.

        The sign ≈ in front marks probed times, the word ``measured`` behind those of a deployment.
        """
        return self.text_in(None)

    def text_in(self, unit: str | None) -> str:
        """Return the text with all seconds in a unit, or each in its own."""
        mark = "≈" if self.method == "probed" else ""
        seconds = (self.median_s, self.low_s, self.high_s)
        middle, low, high = (format_duration(each, unit) for each in seconds)
        behind = " measured" if self.method == "measured" else ""
        if self.draws == 1:
            return f"{mark}{middle}{behind}"
        return f"{mark}{middle} ({low} to {high})"

    def to_json(self) -> dict[str, Any]:
        """Return median and interval in seconds, the number of fleets and the method."""
        return {
            "median_s": self.median_s,
            "low_s": self.low_s,
            "high_s": self.high_s,
            "draws": self.draws,
            "method": self.method,
        }

    def fraction_faster(self, other: TimeSpread) -> float:
        """Return the fraction of fleets, 0 to 1, on which this run ends before another one.

        Both runs must be timed on the same profile: fleets are compared in pairs. A tie counts as
        a half. If one of the runs was timed on fewer fleets, only these are compared.
        """
        mine, others = (np.array(seconds) for seconds in zip(*self._pairs(other), strict=True))
        return float(np.mean((mine < others) + 0.5 * (mine == others)))

    def _pairs(self, other: TimeSpread) -> list[tuple[float, float]]:
        return list(zip(self.seconds, other.seconds, strict=False))

    def per_round(self, rounds: int) -> TimeSpread:
        """Return the spread of the mean seconds of a round, given the number of rounds."""
        return TimeSpread(tuple(s / rounds for s in self.seconds), self.method)


@dataclass(frozen=True, eq=False)
class FleetTimes:
    """Instants at which the rounds of a run close, on each of some fleets.

    Attributes:
        closed_at_s: The instants in seconds (F fleets x R rounds), as in :class:`TimeSpread`.
        method: How they were found.
    """

    closed_at_s: NDArray[np.float64]
    method: Method

    def at(self, round_: int) -> TimeSpread:
        """Return the spread of the instant at which a round closes; the first round is 1."""
        return TimeSpread(tuple(self.closed_at_s[:, round_ - 1].tolist()), self.method)


def spread_texts(spreads: Iterable[TimeSpread | None], missing: str = "-") -> list[str]:
    """Return the texts of a table's column of times, in one unit if possible.

    The unit is that of the medians: one fleet of hours leaves seconds as they are.

    Args:
        spreads: The times; None has the text ``missing``.
        missing: Text of a time that is not there.
    """
    column = list(spreads)
    unit = common_unit(time.median_s for time in column if time)
    return [time.text_in(unit) if time else missing for time in column]


def mean_spread(spreads: Sequence[TimeSpread]) -> TimeSpread:
    """Return the spread of the mean time of several runs, averaged within each fleet.

    The runs must be timed on the same profile. Only fleets on which all of them were timed count.
    """
    seconds = zip(*(spread.seconds for spread in spreads), strict=False)
    return TimeSpread(tuple(float(np.mean(s)) for s in seconds), _weakest(spreads))


def _weakest(spreads: Sequence[TimeSpread]) -> Method:
    """Return the least exact of the methods of some spreads."""
    order: tuple[Method, ...] = ("closed form", "simulated", "probed", "recorded", "measured")
    return max((spread.method for spread in spreads), key=order.index)
