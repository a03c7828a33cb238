"""Network profiles: TOML files that describe the network of a fleet and name their source.

::

    name = "example"
    source = "who measured it, or which paper states it"
    date = "2024"
    seed = 0                          # seed of all random draws of the network
    class_order = "drawn"             # the seed draws each client's class; or "by-number"
    first_download = "88 MB"          # once per client, such as the backbone or an app

    [[clients]]                       # one or more classes; shares add up to 1
    share = 1.0
    down = "200 Mbit/s"               # or down_trace = { file = "down.csv", at_end = "repeat" }
    up = { median = "20 Mbit/s", sigma = 0.5 }    # drawn for each client, lognormal
    rtt = "36 ms"
    compute_per_example = "2 ms"      # or compute = { device = "snapdragon-778g" }
    jitter = "5 ms"                   # this key and all keys below are optional
    loss = 0.001
    dropout = 0.02

    [server]
    egress = "1 Gbit/s"               # shared by all downloads
    ingress = "1 Gbit/s"              # shared by all uploads

    [cells]                           # a middle tier: client i is in cell i modulo count
    count = 20
    down = "150 Mbit/s"
    up = "50 Mbit/s"

    [transport]                       # see transport.py; by default no overhead
    [availability]                    # on, off, swing, peak_hour, start_hour of clients
    [energy]                          # joules_per_mb_down, joules_per_mb_up, compute_watts, battery
    [prices]                          # currency, per_gb_down, per_gb_up, per_joule

Instead of classes, ``[fleet]`` gives a law (see laws.py): lognormal, rows or table.
GUIDE.md has a complete profile and describes the simulation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from statistics import fmean
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from floss_sim import documents
from floss_sim.documents import (
    ByteCount,
    Duration,
    Energy,
    Fraction,
    OneFullLine,
    OneLine,
    Rate,
    Section,
)
from floss_sim.errors import ProfileError
from floss_sim.fingerprints import fingerprint
from floss_sim.network.availability import Availability
from floss_sim.network.fleets.classes import ClassOrder, ClientClass, Fleet, fleet_of_classes
from floss_sim.network.fleets.draws import draws_of
from floss_sim.network.fleets.laws import LognormalFleet, RowsFleet
from floss_sim.network.fleets.rows import LinkRows
from floss_sim.network.frameworks.law import load_framework
from floss_sim.network.link import ClientLink
from floss_sim.network.traces.rate_trace import RateTrace
from floss_sim.network.transport import IDEAL, Transport

_PACKAGE = "network_profiles"
_MB, _GB = 1e6, 1e9
Amount = TypeVar("Amount", float, NDArray[np.float64])  # one amount, or one for each row
_MOST_CLASSES = 1_000  # of a profile; `profiles fit` writes 100 at most
_HOURS = Annotated[float, Field(ge=0, le=24)]
_AMOUNT = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
_MOST_FIRST_BYTES = 10**15  # the sum over all clients fits 64 bits
_RATIOS = (1e-9, 1e9)  # lowest and highest upload ratio


class ServerCapacitySection(Section):
    """Server capacity in bits per second; unlimited by default."""

    egress: Rate = math.inf
    ingress: Rate = math.inf


class CellsSection(Section):
    """Middle tier: cells or sites whose clients share a capacity in bits per second."""

    count: Annotated[int, Field(ge=1, le=100_000)]
    down: Rate = math.inf
    up: Rate = math.inf


class AvailabilitySection(Section):
    """Client availability: mean times on and off in seconds, and their daily change."""

    on: Annotated[Duration, Field(examples=["8 h"])]
    off: Annotated[Duration, Field(examples=["16 h"])]
    swing: Fraction = 0.0
    peak_hour: _HOURS = 0.0
    start_hour: _HOURS = 0.0

    @model_validator(mode="after")
    def _check_durations(self) -> AvailabilitySection:
        for name in ("on", "off"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: a mean time must be at least 1 s")
        return self

    def law(self) -> Availability:
        """Return the parameters as an :class:`Availability`."""
        return Availability(self.on, self.off, self.swing, self.peak_hour, self.start_hour)


class EnergySection(Section):
    """Energy of a client's radio (joules per MB), processor (watts) and full battery (joules)."""

    joules_per_mb_down: _AMOUNT = 0.0
    joules_per_mb_up: _AMOUNT = 0.0
    compute_watts: _AMOUNT = 0.0
    battery: Energy | None = None

    @property
    def is_known(self) -> bool:
        """Whether the profile states what traffic or compute takes."""
        return any((self.joules_per_mb_down, self.joules_per_mb_up, self.compute_watts))

    def joules(self, down_bytes: Amount, up_bytes: Amount, compute_s: Amount) -> Amount:
        """Return the energy of bytes on the wire and of seconds of compute."""
        return (
            down_bytes / _MB * self.joules_per_mb_down
            + up_bytes / _MB * self.joules_per_mb_up
            + compute_s * self.compute_watts
        )


class PricesSection(Section):
    """Prices of traffic, per GB, and of energy, per joule."""

    currency: Annotated[OneFullLine, Field(examples=["EUR"])]
    per_gb_down: _AMOUNT = 0.0
    per_gb_up: _AMOUNT = 0.0
    per_joule: _AMOUNT = 0.0

    @property
    def are_known(self) -> bool:
        """Whether the profile states a price of traffic or of energy."""
        return any((self.per_gb_down, self.per_gb_up, self.per_joule))

    def money(self, down_bytes: Amount, up_bytes: Amount, energy_j: Amount) -> Amount:
        """Return the price of bytes on the wire and of energy, in ``currency``."""
        return (
            down_bytes / _GB * self.per_gb_down
            + up_bytes / _GB * self.per_gb_up
            + energy_j * self.per_joule
        )


class Overrides(Section):
    """Changes of a what-if study to every client's link; None keeps the profile's value.

    ``scale_down`` and ``scale_up`` multiply rates and traces, after all other changes;
    ``scale_compute`` multiplies the seconds of compute.
    """

    down: float | None = None
    up: float | None = None
    upload_ratio: float | None = None
    rtt: float | None = None
    scale_down: float | None = None
    scale_up: float | None = None
    scale_compute: float | None = None

    def settings(self) -> dict[str, float | None]:
        """Return the changes as plain values, without factors that are not set."""
        made: dict[str, float | None] = self.model_dump()
        factors = ("scale_down", "scale_up", "scale_compute")
        unset = [name for name in factors if made[name] is None]
        return {name: value for name, value in made.items() if name not in unset}

    def with_later(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return later changes, so that they hold for links that these have changed already.

        Factors multiply. A rate that is set is not scaled by an earlier factor, and an upload ratio
        is that to the scaled down rate.
        """
        made = dict(changes)
        for way in ("down", "up"):
            factor, before = made.get(f"scale_{way}"), getattr(self, f"scale_{way}")
            if factor is not None and way not in made:
                made[f"scale_{way}"] = factor * (before or 1.0)
            elif factor is None and way in made:
                made[f"scale_{way}"] = None
        if "scale_compute" in made:
            made["scale_compute"] *= self.scale_compute or 1.0
        if made.get("upload_ratio") and "scale_up" not in changes:
            made["scale_up"] = made.get("scale_down", self.scale_down)
        return made

    def __call__(self, link: ClientLink) -> ClientLink:
        """Return the link with these changes made."""
        if self.down is not None:
            link = replace(link, down_bits_per_s=self.down, down_trace=None)
        if self.up is not None:
            link = replace(link, up_bits_per_s=self.up, up_trace=None)
        if self.upload_ratio is not None:
            up = link.down_bits_per_s / self.upload_ratio
            link = replace(link, up_bits_per_s=up, up_trace=None)
        if self.scale_down is not None:
            rate, trace = link.down_bits_per_s * self.scale_down, link.down_trace
            scaled = trace and _scaled_trace(trace, self.scale_down)
            link = replace(link, down_bits_per_s=rate, down_trace=scaled)
        if self.scale_up is not None:
            rate, trace = link.up_bits_per_s * self.scale_up, link.up_trace
            scaled = trace and _scaled_trace(trace, self.scale_up)
            link = replace(link, up_bits_per_s=rate, up_trace=scaled)
        if self.scale_compute is not None:
            link = link.with_compute_factor(self.scale_compute)
        return link if self.rtt is None else replace(link, rtt_s=self.rtt)


@lru_cache(maxsize=64)
def _scaled_trace(trace: RateTrace, factor: float) -> RateTrace:
    return replace(trace, bits_per_s=tuple(factor * rate for rate in trace.bits_per_s))


def _check_number(classes: Any) -> Any:
    """Return the classes of a profile as given; raise ValueError if there are too many."""
    if isinstance(classes, list | tuple) and len(classes) > _MOST_CLASSES:
        raise ValueError(f"{len(classes)} client classes; valid: at most {_MOST_CLASSES}")
    return classes


class NetworkProfile(Section):
    """The network of a fleet of any size."""

    name: Annotated[OneLine, Field(examples=["my phones"])]
    source: Annotated[OneLine, Field(examples=["our speed tests"])]
    date: Annotated[OneLine, Field(examples=["2026"])]
    seed: int = 0
    class_order: ClassOrder = "drawn"
    first_download: Annotated[ByteCount, Field(le=_MOST_FIRST_BYTES)] = 0
    clients: Annotated[tuple[ClientClass, ...], BeforeValidator(_check_number)] = ()
    fleet: Annotated[LognormalFleet | RowsFleet, Field(discriminator="law")] | None = None
    server: ServerCapacitySection = ServerCapacitySection()
    cells: CellsSection | None = None
    transport: Transport = IDEAL
    availability: AvailabilitySection | None = None
    energy: EnergySection = EnergySection()
    prices: PricesSection | None = None
    _overrides: Overrides = PrivateAttr(default=Overrides())

    @model_validator(mode="after")
    def _check_clients(self) -> NetworkProfile:
        if bool(self.clients) == bool(self.fleet):
            raise ValueError(
                "clients: give classes ([[clients]]) or a law ([fleet]), one of the two"
            )
        if self.fleet and "class_order" in self.model_fields_set:
            raise ValueError("class_order: not with a law ([fleet]); valid: with classes")
        total = sum(group.share for group in self.clients)
        if self.clients and not math.isclose(total, 1, abs_tol=1e-6):
            raise ValueError(f"the shares of the client classes add up to {total:g}, not 1")
        if isinstance(self.fleet, RowsFleet):
            most = max(link.cell for link in self.fleet.rows.links)
            count = self.cells.count if self.cells else 1
            if most >= count:
                raise ValueError(
                    f"fleet.file: {self.fleet.file} names cell {most}; valid: 0 to {count - 1}, "
                    f"by count in [cells]"
                )
        return self

    def links(self, size: int) -> Fleet:
        """Return the link of each of ``size`` clients, by client number.

        Raises:
            ProfileError: A table has fewer rows than ``size``.
        """
        cells = self.cells.count if self.cells else 0
        if self.fleet is None:
            fleet = fleet_of_classes(self.clients, size, cells, self.seed, self.class_order)
        else:
            fleet = self.fleet.fleet(size, cells, self.seed)
        if self._overrides == Overrides():
            return fleet
        return Fleet(size, lambda client: self._overrides(fleet[client]))

    def class_links(self) -> tuple[ClientLink, ...]:
        """Return the link of each class, in the profile's order; empty for a fleet by law.

        Figures of classes with a spread are the medians of their clients.
        """
        return tuple(self._overrides(group.link()) for group in self.clients)

    def mean_rates(self, size: int) -> tuple[float, float]:
        """Return the mean nominal rates (down, up) in bits per second, weighted by class shares.

        A class with a spread counts with the expected rates of its clients. For a fleet by law the
        rates are the means over its first ``size`` clients.
        """
        if self.fleet is None:
            pairs = [(group, self._overrides(group.mean_link())) for group in self.clients]
            down = sum(group.share * link.down_bits_per_s for group, link in pairs)
            return down, sum(group.share * link.up_bits_per_s for group, link in pairs)
        links = self.links(size)
        return fmean(k.down_bits_per_s for k in links), fmean(k.up_bits_per_s for k in links)

    def capacities(self, direction: str) -> tuple[float, tuple[float, ...]]:
        """Return the capacities of the server and of each cell in a direction, in bits per second.

        Args:
            direction: ``"down"`` or ``"up"``.
        """
        rate = self.server.egress if direction == "down" else self.server.ingress
        if self.cells is None:
            return rate, ()
        each = self.cells.down if direction == "down" else self.cells.up
        return rate, (each,) * self.cells.count

    def alone_bits_per_s(self, direction: str) -> float:
        """Return the rate, in bits per second, that server and cell allow a single transfer."""
        server, cells = self.capacities(direction)
        return min((server, *cells[:1]))

    @property
    def draws(self) -> tuple[str, ...]:
        """What another seed of the profile changes; empty if nothing.

        Of ``"classes"`` (which client is of which class), ``"links"``, ``"trace starts"``,
        ``"jitter"``, ``"dropout"``, ``"framework"`` (its polls and starts) and ``"availability"``.

        Example:
            >>> load_profile("mobile-mixed").draws
            ('classes', 'links')
            >>> load_profile("paper-200-20").draws
            ()
        """
        found = draws_of(self.clients, self.class_order, self.fleet, self._overrides)
        found = (*found, "framework") if self.transport.law else found
        return (*found, "availability") if self.availability else found

    @property
    def has_devices(self) -> bool:
        """Whether the seconds of compute of some clients follow from the operations of a step."""
        if isinstance(self.fleet, RowsFleet | LognormalFleet):
            return self.fleet.compute is not None
        return any(group.compute for group in self.clients)

    @property
    def shapes_training(self) -> bool:
        """Whether clients can drop out or be off, so that the network changes what is learned."""
        dropouts = [group.dropout for group in self.clients]
        if isinstance(self.fleet, RowsFleet):
            dropouts += [row.dropout for row in self.fleet.rows.links]
        elif self.fleet:
            dropouts.append(self.fleet.dropout)
        return self.availability is not None or any(dropouts)

    @property
    def is_traffic_alone(self) -> bool:
        """Whether seconds are those of traffic: no round trip, no compute and no framework.

        Example:
            >>> load_profile("paper-200-20").is_traffic_alone, load_profile("lte").is_traffic_alone
            (True, False)
        """
        if self.transport.framework:
            return False
        if isinstance(self.fleet, RowsFleet):
            links: Iterable[ClientLink] = self.fleet.rows.links
        else:
            groups = (self.fleet.as_class(),) if self.fleet else self.clients
            links = (group.link() for group in groups)
        found = map(self._overrides, links)
        return not any(link.rtt_s or link.computes for link in found)

    @property
    def changes(self) -> Overrides:
        """Changes to every client's link (:meth:`with_changes`)."""
        return self._overrides

    def with_overrides(self, changes: Overrides) -> NetworkProfile:
        """Return the profile with other changes to every client's link, and the same name."""
        profile = self.model_copy()
        profile._overrides = changes
        return profile

    def with_changes(self, said: str, **changes: float) -> NetworkProfile:
        """Return the profile with new values for every client or for the server.

        Args:
            said: Text for the changes in the new profile's name.
            changes: ``down``, ``up``, ``egress`` or ``ingress`` in bits per second, ``rtt`` in
                seconds, ``upload_ratio``, ``first_download`` in bytes, ``scale_down`` and
                ``scale_up`` as factors of all rates, ``scale_compute`` as one of all seconds of
                compute, which keep their spread.
        """
        links, server = (
            dict[str, Any](
                {key: float(value) for key, value in changes.items() if key in section.model_fields}
            )
            for section in (Overrides, ServerCapacitySection)
        )
        rest = {key: value for key, value in changes.items() if key not in {**links, **server}}
        if "up" in links:  # the later of two settings of the up rates holds
            links["upload_ratio"] = None
        links = self._overrides.with_later(links)
        server_ = self.server.model_copy(update=server)
        name = f"{self.name}, {said}"
        profile = self.model_copy(update={"name": name, "server": server_, **rest})
        return profile.with_overrides(self._overrides.model_copy(update=links))

    def with_framework(self, name: str) -> NetworkProfile:
        """Return the profile with messages of a deployment framework, in place of gRPC's framing.

        Raises:
            ProfileError: The framework is unknown.

        Example:
            >>> load_profile("lte").with_framework("flower-1.42").transport.framework
            'flower-1.42'
        """
        law = load_framework(name)
        changed = {"framework": name, "framing": "none"}
        transport = self.transport.model_copy(update=changed)
        update = {"name": f"{self.name}, framework {law.name}", "transport": transport}
        return self.model_copy(update=update).with_overrides(self._overrides)

    def without_framework(self) -> NetworkProfile:
        """Return the profile without a framework's messages, polls and starts; same links."""
        transport = self.transport.model_copy(update={"framework": None})
        return self.model_copy(update={"transport": transport}).with_overrides(self._overrides)

    def with_upload_ratio(self, ratio: float) -> NetworkProfile:
        """Return the profile with every up rate at ``1 / ratio`` of its down rate.

        Raises:
            ProfileError: A ratio that is not above zero, or out of range.
        """
        check_upload_ratio(ratio)
        return self.with_changes(
            f"upload ratio {repr(ratio).removesuffix('.0')}", upload_ratio=ratio
        )

    def settings(self) -> dict[str, Any]:
        """Return the settings that affect simulated time, for fingerprints.

        Names, source, date, energy and prices are left out; links are included by value.
        """
        said = self.model_dump(
            mode="json",
            exclude={
                *("name", "source", "date", "clients", "class_order", "fleet"),
                *("prices", "energy"),
            },
            exclude_defaults=True,
        )
        if self.clients and "classes" in self.draws:
            said["class_order"] = "drawn"
        if law := self.transport.law:
            said["framework_law"] = law.settings()
        return {**said, "clients": self._client_settings()}

    def _client_settings(self) -> list[Any]:
        """Return the settings of the client links: of the law, or of each class."""
        if isinstance(self.fleet, LognormalFleet):
            return [self.fleet.settings(), self._overrides.settings()]
        if isinstance(self.fleet, RowsFleet):
            return [self.fleet.law, _rows_fingerprint(self.fleet.rows, self._overrides)]
        groups = [
            {**_link_settings(link), "share": group.share, "start": group.trace_start}
            for link, group in zip(self.class_links(), self.clients, strict=True)
        ]
        laws = [group.law() for group in self.clients]
        if not any(law.is_drawn for law in laws):
            return groups
        spreads = [  # lists, not tuples: settings are compared with those read from JSON
            {**vars(law), "medians": [*law.medians], "sigmas": [*law.sigmas]} for law in laws
        ]
        return [groups, spreads, self._overrides.settings()]


@lru_cache(maxsize=8)
def _rows_fingerprint(rows: LinkRows, overrides: Overrides) -> str:
    """Return the fingerprint of all rows by value; it takes a second for 40,000 rows."""
    links = [_link_values(overrides(link)) for link in rows.links]
    return fingerprint({"rows": links, "weights": rows.weights, "cells": rows.have_cells})


def check_upload_ratio(ratio: float) -> None:
    """Raise ProfileError if an upload ratio is not above zero, or out of range."""
    if not 0 < ratio < math.inf:
        raise ProfileError(f"upload ratio {ratio} must be a finite number above zero")
    low, high = _RATIOS
    if not low <= ratio <= high:
        raise ProfileError(f"upload ratio {ratio} is out of range; valid: {low:g} to {high:g}")


def check_first_download(nbytes: int) -> None:
    """Raise ProfileError if a first download is too large."""
    if nbytes > _MOST_FIRST_BYTES:
        valid = f"valid: at most {_MOST_FIRST_BYTES // 10**12} TB"
        raise ProfileError(f"a first download of {nbytes} bytes is too large; {valid}")


def _link_settings(link: ClientLink) -> dict[str, Any]:
    traces = {"down_trace": link.down_trace, "up_trace": link.up_trace}
    said = {name: trace.settings() for name, trace in traces.items() if trace}
    return {**{k: v for k, v in _link_values(link).items() if k not in traces}, **said}


def _link_values(link: ClientLink) -> dict[str, Any]:
    """Return the values of a link; a device as its settings, and only if there is one."""
    values = {name: value for name, value in vars(link).items() if name != "device"}
    return {**values, "device": link.device.settings()} if link.device else values


def packaged_profiles() -> tuple[str, ...]:
    """Return the names of the profiles in the package ``network_profiles``."""
    return documents.packaged_names(_PACKAGE)


def load_profile(name_or_path: str) -> NetworkProfile:
    """Return a packaged profile by name, or the profile of a TOML file by path.

    Raises:
        ProfileError: Unknown name, unreadable file, or a key that is missing, unknown or invalid.

    Example:
        >>> from floss_sim import load_profile
        >>> load_profile("paper-200-20").links(1)[0].up_bits_per_s
        20000000.0
    """
    path = documents.find(name_or_path, _PACKAGE, "network profile", ProfileError)
    return documents.read(path, NetworkProfile, ProfileError)
