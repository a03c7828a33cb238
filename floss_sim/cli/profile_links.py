"""Links of a profile as figures: those of each class, or quantiles of the links of a drawn fleet.

A fleet is drawn by a law, or from classes with a spread.

A quantile is one of a column: the line of 5 % has the download rate that 5 % of the clients do not
reach, the upload rate that 5 % do not reach, and so on. It is not the link of one client.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from floss_sim.network import ClientLink, NetworkProfile
from floss_sim.network.fleets.laws import RowsFleet
from floss_sim.network.measured.weighted_statistics import FloatArray, quantiles

SAMPLES = (100_000, 1_000_000)  # bytes of the sample transfers
SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)  # of the clients of a drawn fleet
RANGE = (0.05, 0.5, 0.95)  # shares that say in short how wide a column is
_DRAWN = 1000  # clients drawn from lognormal laws for their quantiles
_FIGURES = ("down_bits_per_s", "up_bits_per_s", "rtt_s", "compute_s_per_example")


def has_quantiles(profile: NetworkProfile) -> bool:
    """Return whether a profile is described by quantiles: a law, or classes with a spread."""
    return profile.fleet is not None or any(group.law().is_drawn for group in profile.clients)


def links_of(profile: NetworkProfile) -> Sequence[ClientLink]:
    """Return the link of each class; of a drawn fleet its rows, or clients drawn from it."""
    if not has_quantiles(profile):
        return profile.class_links()
    if isinstance(profile.fleet, RowsFleet):
        return profile.fleet.rows.links
    return profile.links(_DRAWN)


def quantiles_of(profile: NetworkProfile, figure: str, shares: Sequence[float]) -> list[float]:
    """Return the quantiles of a figure of the links of a drawn fleet."""
    values = [getattr(link, figure) for link in links_of(profile)]
    return _quantiles(profile, values, shares)


def weights_of(profile: NetworkProfile) -> FloatArray:
    """Return the weight of each of :func:`links_of`: shares of classes, weights of rows, or 1."""
    if not has_quantiles(profile):
        return np.array([group.share for group in profile.clients])
    if isinstance(profile.fleet, RowsFleet) and profile.fleet.law == "rows":
        return np.array(profile.fleet.rows.weights)
    return np.ones(len(links_of(profile)))


def link_table(profile: NetworkProfile) -> list[dict[str, Any]]:
    """Return figures with the seconds of sample transfers alone on the network.

    There is one entry for each class, with its share, or one for each of :data:`SHARES`.
    """
    if not has_quantiles(profile):
        pairs = zip(profile.clients, profile.class_links(), strict=True)
        return [{"share": f"{group.share:.3g}"} | _figures(profile, link) for group, link in pairs]
    figures = [_figures(profile, link) for link in links_of(profile)]
    columns = {
        name: _quantiles(profile, [each[name] for each in figures], SHARES) for name in _FIGURES
    }
    transfers = {
        name: _quantiles(profile, [each["transfer_s"][name] for each in figures], SHARES)
        for name in figures[0]["transfer_s"]
    }
    return list(_lines(columns, transfers))


def class_table(profile: NetworkProfile) -> list[dict[str, Any]]:
    """Return share, medians, standard deviations of logarithms and correlation of each class."""
    return [
        {
            "share": group.share,
            "medians": dict(zip(_FIGURES, group.law().medians, strict=True)),
            "sigmas": dict(zip(_FIGURES, group.law().sigmas, strict=True)),
            "correlation": group.correlation,
        }
        for group in profile.clients
    ]


def device_names(profile: NetworkProfile) -> list[str]:
    """Return the devices of a profile's clients, each once; empty if no class states one."""
    found = (link.device for link in links_of(profile))
    return list(dict.fromkeys(device.name for device in found if device))


def fleet_text(profile: NetworkProfile) -> str:
    """Return in words of which links the quantiles of a drawn fleet are."""
    fleet = profile.fleet
    if isinstance(fleet, RowsFleet):
        weighted = fleet.law == "rows" and len(set(fleet.rows.weights)) > 1
        return f"{len(fleet.rows.links):,} rows{' by weight' if weighted else ''}"
    return f"{_DRAWN:,} clients drawn"


def _quantiles(
    profile: NetworkProfile, values: Sequence[float], shares: Sequence[float]
) -> list[float]:
    return quantiles(np.array(values), weights_of(profile), shares)


def _figures(profile: NetworkProfile, link: ClientLink) -> dict[str, Any]:
    times = {
        f"{way}_{size}": link.transfer_s(
            way, size, profile.transport, limit_bits_per_s=profile.alone_bits_per_s(way)
        )
        for way in ("down", "up")
        for size in SAMPLES
    }
    device = {"device": link.device.name} if link.device else {}
    return {name: getattr(link, name) for name in _FIGURES} | device | {"transfer_s": times}


def _lines(
    columns: Mapping[str, Sequence[float]], transfers: Mapping[str, Sequence[float]]
) -> Iterator[dict[str, Any]]:
    for i, share in enumerate(SHARES):
        times = {name: values[i] for name, values in transfers.items()}
        figures = {name: values[i] for name, values in columns.items()}
        yield {"share": f"{share:.0%}"} | figures | {"transfer_s": times}
