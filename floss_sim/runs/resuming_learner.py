"""Learner that replays a record, then continues with a live learner."""

from __future__ import annotations

from collections.abc import Sequence

from floss_sim.protocol import (
    Arrival,
    ClientState,
    Dispatch,
    Job,
    Learner,
    LearnerIdentity,
    Metrics,
    Snapshot,
    Upload,
)
from floss_sim.records import RunRecord
from floss_sim.runs.replay_learner import ReplayLearner


class ResumingLearner:
    """Learner that replays a record up to its last round, then calls a live learner.

    The live learner is restored from the snapshot just before its first call; if no further round
    is needed, the live learner is never used. Updates in flight at the snapshot are not in the
    record: they are trained again from the snapshot's dispatches.
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
        """Identity of the live learner."""
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

    def job(self, dispatch: Dispatch) -> Job | None:
        """Return the live learner's job; None if the upload is recorded."""
        recorded = self._recorded.knows(dispatch.sequence, "up")
        return None if recorded else self._wake_live().job(dispatch)

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Return the recorded or the live upload."""
        if self._recorded.knows(dispatch.sequence, "up"):
            return self._recorded.train(dispatch, client_state)
        return self._wake_live().train(dispatch, client_state)

    def forget(self, dispatch: Dispatch, kept: ClientState) -> None:
        """Call ``forget`` of the live learner, if it is already in use."""
        if self._awake:
            self._live.forget(dispatch, kept)

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Take a recorded server step, or a live one after the last recorded round."""
        version = self._current_learner().aggregate(arrivals)
        self._left = max(0, self._left - 1)
        return version

    def evaluate(self, version: int) -> Metrics | None:
        """Return recorded or live metrics."""
        if version <= self._snapshot.version:
            return self._recorded.evaluate(version)
        return self._live.evaluate(version)

    def model(self) -> bytes:
        """Return the newest model; empty while recorded rounds remain."""
        return self._current_learner().model()

    def snapshot(self) -> Snapshot:
        """Return the state after the newest version."""
        return self._live.snapshot() if self._awake else self._snapshot

    def restore(self, snapshot: Snapshot) -> None:
        """Raise NotImplementedError: the snapshot is an argument of the constructor."""
        raise NotImplementedError("a resuming learner is built from its snapshot")

    def device_peak_bytes(self) -> int | None:
        """Return the live learner's peak memory in bytes; None before its first call."""
        return self._live.device_peak_bytes() if self._awake else None
