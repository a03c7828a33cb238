"""Network profiles: TOML files that say what the clients' links are, with their source.

::

    name = "example"
    source = "who measured it, or which paper states it"
    date = "2024"

    [[clients]]                       # one or more classes; shares add up to 1
    share = 1.0
    down = "200 Mbit/s"
    up = "20 Mbit/s"
    rtt = "36 ms"
    compute_per_example = "2 ms"

Clients fall into the classes in the order of their numbers: client i of n belongs to the class
whose cumulative share covers (i + 1/2) / n.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from floss_sim import documents
from floss_sim.documents import Section
from floss_sim.errors import ProfileError, UnitError
from floss_sim.network.link import ClientLink
from floss_sim.units import parse_duration, parse_rate


def _quantity(parse: Callable[[object], float]) -> BeforeValidator:
    def read(value: object) -> float:
        try:
            return parse(value)
        except UnitError as error:
            raise ValueError(str(error)) from None

    return BeforeValidator(read)


_PACKAGE = "network_profiles"
Rate = Annotated[float, _quantity(parse_rate)]
Duration = Annotated[float, _quantity(parse_duration)]


class ClientClass(Section):
    """A share of the fleet with equal links; rates in bits per second, durations in seconds."""

    share: Annotated[float, Field(gt=0, le=1)]
    down: Rate
    up: Rate
    rtt: Duration
    compute_per_example: Duration

    def link(self) -> ClientLink:
        """Return the link of a client of this class."""
        return ClientLink(self.down, self.up, self.rtt, self.compute_per_example)


class NetworkProfile(Section):
    """The links of a fleet of any size."""

    name: str
    source: str
    date: str
    clients: Annotated[tuple[ClientClass, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _shares_add_up(self) -> NetworkProfile:
        total = sum(group.share for group in self.clients)
        if not math.isclose(total, 1, abs_tol=1e-6):
            raise ValueError(f"the shares of the client classes add up to {total:g}, not 1")
        return self

    def links(self, fleet: int) -> tuple[ClientLink, ...]:
        """Return the link of each of ``fleet`` clients, by client number."""
        ends = list(accumulate(group.share for group in self.clients))
        links = [group.link() for group in self.clients]
        last = len(links) - 1
        return tuple(
            links[min(last, sum((i + 0.5) / fleet > end for end in ends))] for i in range(fleet)
        )

    def with_upload_ratio(self, ratio: float) -> NetworkProfile:
        """Return the profile with every up rate at ``1 / ratio`` of its down rate.

        Raises:
            ProfileError: A ratio that is not a finite number above zero.
        """
        if not 0 < ratio < math.inf:
            raise ProfileError(f"upload ratio {ratio} must be a finite number above zero")
        groups = [group.model_copy(update={"up": group.down / ratio}) for group in self.clients]
        name = f"{self.name}, upload ratio {ratio:g}"
        return self.model_copy(update={"name": name, "clients": tuple(groups)})

    def settings(self) -> dict[str, Any]:
        """Return what shapes simulated time, for fingerprints: the classes, not the names."""
        return {"clients": [group.model_dump() for group in self.clients]}


def packaged_profiles() -> tuple[str, ...]:
    """Return the names of the profiles in the package ``network_profiles``."""
    return documents.packaged(_PACKAGE)


def load_profile(name_or_path: str) -> NetworkProfile:
    """Return a packaged profile by name, or the profile of a TOML file by path.

    Raises:
        ProfileError: Unknown name, unreadable file, or a key that is missing, unknown or invalid.
    """
    path = documents.find(name_or_path, _PACKAGE, "network profile", ProfileError)
    return documents.read(path, NetworkProfile, ProfileError)
