"""Figures by which a fit is judged: quantiles of rates, of round trips and of times of rounds.

A round waits for the slowest of n clients, each of which downloads and uploads one payload. The
clients' links are independent draws, so that a round is shorter than t with probability F(t)^n,
where F is the distribution function of one client's time (the law of the largest of n draws). Its
quantile q is therefore one client's quantile q^(1/n): no cohort needs to be drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

from floss_sim.network.measured.weighted_links import WeightedLinks
from floss_sim.network.measured.weighted_statistics import quantiles

PERCENTS = (1, 5, 50, 95, 99)
TOLERANCE = 0.1  # largest relative deviation of a figure of an acceptable fit
Figures = Mapping[str, Mapping[str, float]]  # quantity: percent: value


@dataclass(frozen=True)
class WaitAllRound:
    """Round that waits for all of its clients.

    Attributes:
        clients: Number of clients.
        nbytes: Bytes that each client downloads, and bytes that it uploads.
    """

    clients: int
    nbytes: int

    @property
    def name(self) -> str:
        """Name of its time among the figures, such as ``round_5_clients_50000_bytes_s``."""
        return f"round_{self.clients}_clients_{self.nbytes}_bytes_s"


ROUNDS = tuple(WaitAllRound(*each) for each in product((5, 50), (50_000, 5_000_000)))


@dataclass(frozen=True)
class Deviation:
    """Relative deviation of one figure of a fit from that of the data; -0.5 is half of it."""

    quantity: str
    percent: int
    relative: float


def figures_of(links: WeightedLinks) -> dict[str, dict[str, float]]:
    """Return the quantiles at 1, 5, 50, 95 and 99 % of each quantity of the links.

    Quantities are ``down_bits_per_s``, ``up_bits_per_s``, ``rtt_s``, and the seconds of each of
    :data:`ROUNDS` under its name.
    """
    shares = [percent / 100 for percent in PERCENTS]
    found = {
        name: _named(quantiles(getattr(links, name), links.weights, shares))
        for name in ("down_bits_per_s", "up_bits_per_s", "rtt_s")
    }
    exchange_s = {nbytes: links.exchange_s(nbytes) for nbytes in {each.nbytes for each in ROUNDS}}
    for each in ROUNDS:
        alone = [share ** (1 / each.clients) for share in shares]
        found[each.name] = _named(quantiles(exchange_s[each.nbytes], links.weights, alone))
    return found


def largest_deviations(data: Figures, fit: Figures) -> dict[str, Deviation]:
    """Return the deviation of each quantity at the percentage where it is the largest factor."""
    return {
        quantity: largest(
            Deviation(quantity, int(percent), fit[quantity][percent] / value - 1)
            for percent, value in values.items()
        )
        for quantity, values in data.items()
    }


def largest(deviations: Iterable[Deviation]) -> Deviation:
    """Return the deviation by the largest factor: half and twice a figure are equally far off."""
    return max(deviations, key=lambda each: abs(math.log1p(each.relative)))


def _named(values: list[float]) -> dict[str, float]:
    return dict(zip(map(str, PERCENTS), values, strict=True))
