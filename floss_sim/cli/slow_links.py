"""Slow links of a profile: those that take over an hour for a usual message, and their share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from floss_sim.analysis.stragglers import link_text
from floss_sim.cli.profile_links import fleet_text, has_quantiles, links_of, weights_of
from floss_sim.network import ClientLink, NetworkProfile
from floss_sim.network.measured.weighted_links import WeightedLinks
from floss_sim.units import format_bytes, format_duration

USUAL_BYTES = 5_000_000  # of a message
SLOW_S = 3600.0  # for such a message down and up, from which a link is named


@dataclass(frozen=True)
class SlowLinks:
    """Links that take over an hour to download and upload a usual message.

    Attributes:
        count: Their number.
        of: Of which links, in words.
        share: Fraction of the clients that have such a link.
        slowest: The slowest link.
        slowest_s: Its seconds.
    """

    count: int
    of: str
    share: float
    slowest: ClientLink
    slowest_s: float

    @property
    def text(self) -> str:
        """Who takes how long, and what to do."""
        share = f"{100 * self.share:.2g} %"
        return (
            f"clients that take over an hour for {format_bytes(USUAL_BYTES)} down and up: "
            f"{self.count} of {self.of} ({share} of the clients), at worst "
            f"{format_duration(self.slowest_s)} with {link_text(self.slowest)}; if such clients "
            "will not take part, remove them; --policy deadline:SECONDS or first-k:K does not wait "
            "for them"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the numbers, and the rates and the round trip of the slowest link."""
        names = ("down_bits_per_s", "up_bits_per_s", "rtt_s", "compute_s_per_example")
        return {
            "count": self.count,
            "of": self.of,
            "share": self.share,
            "bytes": USUAL_BYTES,
            "slowest_s": self.slowest_s,
            "slowest_link": {name: getattr(self.slowest, name) for name in names},
        }


def slow_links(profile: NetworkProfile) -> SlowLinks | None:
    """Return the slow links of a profile's classes, rows or drawn clients, or None.

    Nothing else limits or delays a message: no other transfer, no overhead, no training.
    """
    links, weight_N = links_of(profile), weights_of(profile)
    down_N = np.array([link.down_bits_per_s for link in links])
    up_N = np.array([link.up_bits_per_s for link in links])
    rtt_N = np.array([link.rtt_s for link in links])
    seconds_N = WeightedLinks(down_N, up_N, rtt_N, weight_N).exchange_s(USUAL_BYTES)
    is_slow_N = seconds_N > SLOW_S
    if not is_slow_N.any():
        return None
    classes = f"{len(links)} class{'es' if len(links) > 1 else ''}"
    slowest = int(seconds_N.argmax())
    return SlowLinks(
        int(is_slow_N.sum()),
        fleet_text(profile) if has_quantiles(profile) else classes,
        float(weight_N[is_slow_N].sum() / weight_N.sum()),
        links[slowest],
        float(seconds_N[slowest]),
    )
