"""Participation: one download, local training and upload of a client, and their outcome."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import simpy

from floss_sim.network import Leg
from floss_sim.protocol import NO_STATE, ClientState, Dispatch, Upload

AGGREGATED, LATE, CANCELLED, DROPPED, OFFLINE = (
    "aggregated",
    "late",
    "cancelled",
    "dropped",
    "offline",
)


class Transfer(NamedTuple):
    """One payload over a link: a row of the run record; fields as in ``records.TRANSFERS``.

    ``round`` is the round in which the update was aggregated or lost. ``fate`` is one of
    ``"aggregated"``, ``"late"``, ``"cancelled"``, ``"dropped"`` and ``"offline"``.
    """

    sequence: int
    round: int
    client: int
    direction: str
    version: int
    nbytes: int
    entries: int
    examples: int
    started_at_s: float
    ended_at_s: float
    sent_bytes: int
    wire_bytes: int
    alone_s: float
    fate: str


@dataclass(eq=False, slots=True)
class Participation:
    """State of one participation; ``fate`` is empty until the outcome is known.

    ``upload`` is computed when the training begins; ``trained`` is set when it ends.
    """

    dispatch: Dispatch
    down: Leg
    first: Leg | None = None
    process: simpy.Process | None = None
    upload: Upload | None = None
    trained: bool = False
    up: Leg | None = None
    reported: bool = False
    fate: str = ""

    @property
    def order(self) -> tuple[float, int]:
        """Sort key of reports: instant of arrival, then number of the dispatch."""
        return (self.up.ended_at_s if self.up else 0.0, self.dispatch.sequence)

    def kept_state(self) -> ClientState:
        """Return the client's new state; none if it was stopped before its training ended.

        With error feedback, the state after a lost upload includes the values of that upload.
        """
        if self.upload is None or not self.trained:
            return NO_STATE
        aggregated = self.fate == AGGREGATED
        return self.upload.client_state if aggregated else self.upload.lost_state

    def transfers(self, round_: int) -> Iterator[Transfer]:
        """Yield the record's rows of first download, download and upload, where they exist."""
        if self.first:
            yield self._row(round_, self.first, self.dispatch, 0)
        yield self._row(round_, self.down, self.dispatch, 0)
        if self.upload and self.up:
            yield self._row(round_, self.up, self.upload, self.upload.examples)

    def _row(self, round_: int, leg: Leg, message: Dispatch | Upload, examples: int) -> Transfer:
        entries = 0 if leg is self.first else message.entries
        return Transfer(
            self.dispatch.sequence, round_, self.dispatch.client, leg.direction,
            self.dispatch.version, leg.nbytes, entries, examples,
            leg.started_at_s, leg.ended_at_s, leg.sent_bytes, leg.wire_bytes, leg.alone_s,
            self.fate,
        )  # fmt: skip
