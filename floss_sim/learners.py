"""Learners that need no framework: predicted sizes, and a recorded run.

=================  =======================================  =============================
learner            payload sizes                            learning
=================  =======================================  =============================
SizeOnlyLearner    predicted from the method's densities    none
ReplayLearner      as recorded                              recorded metrics
ResumingLearner    as recorded, then those of a live one    recorded, then really learned
=================  =======================================  =============================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, overload

from floss_sim.calibration import UNCALIBRATED, Calibration
from floss_sim.methods import MaskLedger, Method
from floss_sim.protocol import (
    NO_STATE,
    Arrival,
    ClientState,
    Dispatch,
    Learner,
    Metrics,
    Snapshot,
    Upload,
)
from floss_sim.records.schema import RunRecord
from floss_sim.vectors.layout import Layout


class SameExamples(Sequence[int]):
    """As many local examples for each client of a fleet of any size; nothing is kept for each."""

    def __init__(self, clients: int, examples: int) -> None:
        self._clients = clients
        self._examples = examples

    def __len__(self) -> int:
        return self._clients

    @overload
    def __getitem__(self, client: int) -> int: ...
    @overload
    def __getitem__(self, client: slice) -> SameExamples: ...
    def __getitem__(self, client: int | slice) -> int | SameExamples:
        clients = range(self._clients)[client]
        return (
            self._examples if isinstance(clients, int) else type(self)(len(clients), self._examples)
        )


class Unlearned:
    """What a learner that trains nothing keeps: the version, which rounds count up."""

    def __init__(self) -> None:
        self.version = 0

    def forget(self, dispatch: Dispatch) -> None:
        """Hear that a dispatch is over; nothing is kept of it."""

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Count the version up."""
        self.version += 1
        return self.version

    def evaluate(self, version: int) -> Metrics | None:
        """Return None: nothing is learned."""
        return None

    def model(self) -> bytes:
        """Return nothing: nothing is learned."""
        return b""

    def snapshot(self) -> Snapshot:
        """Return the version alone."""
        return Snapshot(self.version, {})

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a version."""
        self.version = snapshot.version

    def device_peak_bytes(self) -> int | None:
        """Return None: there is no device."""
        return None


class SizeOnlyLearner(Unlearned):
    """Answers with predicted sizes; nothing is trained.

    Args:
        layout: Names the entries.
        method: Says how many entries travel each way.
        examples: Local examples of each client, epochs included, by client number.
        calibration: How real sizes relate to predicted ones.
    """

    def __init__(
        self,
        layout: Layout,
        method: Method,
        examples: Sequence[int],
        calibration: Calibration = UNCALIBRATED,
    ) -> None:
        super().__init__()
        self._layout = layout
        self._method = method
        self._examples = examples
        self._calibration = calibration
        self._ledger = MaskLedger(len(examples) if method.mask_ledger else 0)
        self._size = lru_cache(maxsize=4096)(self._predict)

    def _predict(self, way: str, tier: int, version: int, held: int) -> tuple[int, int]:
        """Return (bytes, entries) of a message."""
        if way == "down":
            size = self._method.download_size(self._layout, tier, version, held)
            predicted = size.nbytes(self._method.down_values)
        else:
            size = self._method.upload_size(self._layout, tier, version)
            predicted = size.nbytes(self._method.up_values)
        return self._calibration.nbytes(way, predicted), size.count

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return a download of predicted size."""
        held = self._ledger.held(client) if self._method.mask_ledger else 0
        tier = self._method.tier_of(client, len(self._examples))
        nbytes, count = self._size("down", tier, self.version, held)
        return Dispatch(sequence, client, self.version, nbytes, count, held=held)

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Return an upload of predicted size."""
        tier = self._method.tier_of(dispatch.client, len(self._examples))
        nbytes, count = self._size("up", tier, dispatch.version, 0)
        examples = self._examples[dispatch.client]
        return Upload(dispatch.sequence, dispatch.client, nbytes, count, examples)

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Count the version up; clients hold what they were sent."""
        if self._method.mask_ledger:
            for arrival in arrivals:
                self._ledger.confirm(arrival.upload.client, self.version - arrival.staleness)
        return super().aggregate(arrivals)


class ReplayLearner(Unlearned):
    """Answers from a recorded run, whose models stay in its folder; KeyError past its end.

    Args:
        record: The run.
        clients: What each client keeps after it; no earlier state is ever looked at.
    """

    def __init__(self, record: RunRecord, clients: Mapping[int, ClientState] | None = None) -> None:
        super().__init__()
        self._clients = clients or {}
        transfers = record.transfers.to_pylist()
        self._transfers = {(row["sequence"], row["direction"]): row for row in transfers}
        self._rounds = {row["version"]: row for row in record.rounds.to_pylist()}

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return the recorded download."""
        row = self._row(client, sequence, "down")
        return Dispatch(sequence, client, row["version"], row["nbytes"], row["entries"])

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Return the recorded upload."""
        row = self._row(dispatch.client, dispatch.sequence, "up")
        return Upload(
            dispatch.sequence,
            dispatch.client,
            row["nbytes"],
            row["entries"],
            row["examples"],
            client_state=self._clients.get(dispatch.client, NO_STATE),
            lost_state=self._clients.get(dispatch.client, NO_STATE),
        )

    def knows(self, sequence: int, direction: str) -> bool:
        """Return whether a transfer was recorded."""
        return (sequence, direction) in self._transfers

    def _row(self, client: int, sequence: int, direction: str) -> Mapping[str, Any]:
        row: Mapping[str, Any] = self._transfers[sequence, direction]
        if row["client"] != client:
            raise ValueError(f"dispatch {sequence} went to client {row['client']}, not {client}")
        return row

    def evaluate(self, version: int) -> Metrics | None:
        """Return the recorded metrics, or None where the version was not evaluated."""
        row = self._rounds[version]
        if row["accuracy"] is None:
            return None
        return Metrics(row["accuracy"], row["loss"], row["dense_accuracy"], row["dense_loss"])


class ResumingLearner:
    """Answers from the record up to its last round, then from a live learner.

    The live learner is restored from the snapshot at its first call, so that a run that needs no
    further round never wakes it. Updates that were under way at the snapshot are in no record:
    they are trained again, from the dispatches that the snapshot holds.
    """

    def __init__(self, record: RunRecord, snapshot: Snapshot, live: Learner) -> None:
        self._recorded = ReplayLearner(record, snapshot.clients)
        self._live = live
        self._snapshot = snapshot
        self._in_flight = {dispatch.sequence: dispatch for dispatch in snapshot.in_flight}
        self._left = record.rounds.num_rows
        self._awake = False

    def _now(self) -> Learner:
        return self._recorded if self._left else self._awakened()

    def _awakened(self) -> Learner:
        if not self._awake:
            self._live.restore(self._snapshot)
            self._awake = True
        return self._live

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return the recorded or the live download."""
        return self._in_flight.get(sequence) or self._now().dispatch(client, sequence)

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Return the recorded or the live upload."""
        if self._recorded.knows(dispatch.sequence, "up"):
            return self._recorded.train(dispatch, client_state)
        return self._awakened().train(dispatch, client_state)

    def forget(self, dispatch: Dispatch) -> None:
        """Pass on that a dispatch is over, once there is a live learner that may know it."""
        if self._awake:
            self._live.forget(dispatch)

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Take a recorded or a live step; after the last recorded one, live ones follow."""
        version = self._now().aggregate(arrivals)
        self._left = max(0, self._left - 1)
        return version

    def evaluate(self, version: int) -> Metrics | None:
        """Return recorded or live metrics."""
        if version <= self._snapshot.version:
            return self._recorded.evaluate(version)
        return self._live.evaluate(version)

    def model(self) -> bytes:
        """Return the live learner's model."""
        return self._now().model()

    def snapshot(self) -> Snapshot:
        """Return the state after the newest version."""
        return self._live.snapshot() if self._awake else self._snapshot

    def restore(self, snapshot: Snapshot) -> None:
        """Refuse: a resuming learner is built from its snapshot."""
        raise NotImplementedError("a resuming learner is built from its snapshot")

    def device_peak_bytes(self) -> int | None:
        """Return that of the live learner, once it trains."""
        return self._live.device_peak_bytes() if self._awake else None
