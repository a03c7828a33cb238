"""When a round closes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import simpy


class RoundPolicy(Protocol):
    """Decides when a round closes, given the processes of its clients."""

    def closes(self, env: simpy.Environment, clients: Sequence[simpy.Process]) -> simpy.Event:
        """Return the event at which the round closes."""

    def settings(self) -> dict[str, Any]:
        """Return the policy as plain values, for fingerprints."""


@dataclass(frozen=True)
class WaitAll:
    """A round closes when every client of the cohort has reported.

    Time then never changes what is learned: uploads are aggregated in the cohort's order,
    whatever the order in which they arrive.
    """

    def closes(self, env: simpy.Environment, clients: Sequence[simpy.Process]) -> simpy.Event:
        """Return the event at which the last client has reported."""
        return env.all_of(clients)

    def settings(self) -> dict[str, Any]:
        """Return ``{"policy": "wait-all"}``."""
        return {"policy": "wait-all"}
