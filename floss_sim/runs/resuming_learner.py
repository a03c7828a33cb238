"""Learner that answers from a record, then from a live learner."""

from __future__ import annotations

from collections.abc import Sequence

from floss_sim.protocol import (
    Arrival,
    ClientState,
    Dispatch,
    Learner,
    LearnerIdentity,
    Metrics,
    Snapshot,
    Upload,
)
from floss_sim.records import RunRecord
from floss_sim.runs.replay_learner import ReplayLearner


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

    @property
    def identity(self) -> LearnerIdentity:
        """That of the live learner."""
        return self._live.identity

    def _current_learner(self) -> Learner:
        return self._recorded if self._left else self._wake_live()

    def _wake_live(self) -> Learner:
        if not self._awake:
            self._live.restore(self._snapshot)
            self._awake = True
        return self._live

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return the recorded or the live download."""
        return self._in_flight.get(sequence) or self._current_learner().dispatch(client, sequence)

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Return the recorded or the live upload."""
        if self._recorded.knows(dispatch.sequence, "up"):
            return self._recorded.train(dispatch, client_state)
        return self._wake_live().train(dispatch, client_state)

    def forget(self, dispatch: Dispatch) -> None:
        """Pass on that a dispatch is over, once there is a live learner that may know it."""
        if self._awake:
            self._live.forget(dispatch)

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Take a recorded or a live step; after the last recorded one, live ones follow."""
        version = self._current_learner().aggregate(arrivals)
        self._left = max(0, self._left - 1)
        return version

    def evaluate(self, version: int) -> Metrics | None:
        """Return recorded or live metrics."""
        if version <= self._snapshot.version:
            return self._recorded.evaluate(version)
        return self._live.evaluate(version)

    def model(self) -> bytes:
        """Return the live learner's model."""
        return self._current_learner().model()

    def snapshot(self) -> Snapshot:
        """Return the state after the newest version."""
        return self._live.snapshot() if self._awake else self._snapshot

    def restore(self, snapshot: Snapshot) -> None:
        """Refuse: a resuming learner is built from its snapshot."""
        raise NotImplementedError("a resuming learner is built from its snapshot")

    def device_peak_bytes(self) -> int | None:
        """Return that of the live learner, once it trains."""
        return self._live.device_peak_bytes() if self._awake else None
