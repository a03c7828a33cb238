"""Settings of a profile besides the rates of its classes, as plain values and in words.

The names of the values contain their units; the words are derived from these names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from floss_sim.cli.console import print_text
from floss_sim.network import ClientLink, NetworkProfile
from floss_sim.network.profile import EnergySection
from floss_sim.units import format_bytes, format_duration, format_energy, format_rate

_UNITS: tuple[tuple[str, Callable[[float], str]], ...] = (
    ("_bits_per_s", format_rate),
    ("_bytes", format_bytes),
    ("_s", format_duration),
    ("_j", format_energy),
)
_DRAWN = {
    "classes": "the class of each client",
    "links": "the link of each client",
    "trace starts": "the start of each client's trace",
    "jitter": "the jitter of each transfer",
    "dropout": "which clients drop out",
    "availability": "when clients are on",
    "framework": "the polls and process starts of the framework",
}


def sections(profile: NetworkProfile, links: Sequence[ClientLink]) -> dict[str, dict[str, Any]]:
    """Return the values that a profile sets, by section; sections without a value are left out.

    Args:
        profile: The profile.
        links: The links of the profile's classes, or of clients drawn from its law.
    """
    server, cells, law = profile.server, profile.cells, profile.availability
    found = {
        "server": _rates(egress=server.egress, ingress=server.ingress),
        "cells": {"count": cells.count, **_rates(down=cells.down, up=cells.up)} if cells else {},
        "transport": profile.transport.model_dump(exclude_defaults=True),
        "links": _link_ranges(links),
        "traces": _traces(profile),
        "first_download": {"size_bytes": profile.first_download} if profile.first_download else {},
        "availability": vars(law.law()) if law else {},
        "energy": _energy(profile.energy),
        "prices": profile.prices.model_dump(exclude_defaults=True) if profile.prices else {},
    }
    return {name: values for name, values in found.items() if values}


def lines(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one line of words for each section."""
    return [f"{name.replace('_', ' ')}: {words(values)}" for name, values in found.items()]


def words(values: Mapping[str, Any]) -> str:
    """Return the values of a section in words, such as ``egress 1 Gbit/s, ingress 1 Gbit/s``."""
    return ", ".join(_phrase(name, value) for name, value in values.items())


def drawn_words(profile: NetworkProfile) -> str:
    """Return in words what the seed of a profile draws."""
    *first, last = [_DRAWN[name] for name in profile.draws] or ["nothing"]
    drawn = f"{', '.join(first)} and {last}" if first else last
    same = "" if profile.draws else "; all seeds give the same seconds"
    return f"drawn by the seed: {drawn}{same}"


def print_transport(profile: NetworkProfile) -> None:
    """Print the transport settings of a profile, which add bytes to a framed message."""
    transport = words(profile.transport.model_dump(exclude_defaults=True))
    print_text(f"{profile.name}: {transport or 'no [transport], so nothing is added to our frame'}")
    if setup := profile.transport.setup_bytes:
        print_text(f"Setting up a connection takes {setup:,} bytes more.")


def _rates(**bits_per_s: float) -> dict[str, float]:
    """Return the finite rates, with names that end in ``_bits_per_s``."""
    said = {f"{name}_bits_per_s": rate for name, rate in bits_per_s.items()}
    return {name: rate for name, rate in said.items() if not math.isinf(rate)}


def _energy(section: EnergySection) -> dict[str, float]:
    """Return the values of ``[energy]``; the battery's name ends in its unit, joules."""
    said: dict[str, float] = section.model_dump(exclude_defaults=True)
    return {"battery_j" if name == "battery" else name: value for name, value in said.items()}


def _link_ranges(links: Sequence[ClientLink]) -> dict[str, list[float]]:
    """Return minimum and maximum of jitter, loss and dropout, if they are not all zero."""
    found = {}
    for name in ("jitter_s", "loss", "dropout"):
        values = [getattr(link, name) for link in links]
        if any(values):
            found[name] = [min(values), max(values)]
    return found


def _traces(profile: NetworkProfile) -> dict[str, str]:
    """Return file and end mode of the traces, by class and direction."""
    return {
        f"class_{number}_{way}": f"{trace.file} ({trace.at_end})"
        for number, group in enumerate(profile.clients)
        for way, trace in (("down", group.down_trace), ("up", group.up_trace))
        if trace
    }


def _phrase(name: str, value: Any) -> str:
    ending, text = next((unit for unit in _UNITS if name.endswith(unit[0])), ("", _plain_text))
    label = name.removesuffix(ending).replace("_", " ")
    label = label.replace(" mb", " MB").replace(" gb", " GB")
    if value is True:
        return label
    values = value if isinstance(value, list) else [value]
    return f"{label} {' to '.join(dict.fromkeys(text(value) for value in values))}"


def _plain_text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
