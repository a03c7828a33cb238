"""Learner that replays a recorded run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from floss_sim.protocol import (
    NO_STATE,
    ClientState,
    Dispatch,
    LearnerIdentity,
    Metrics,
    OwnMetrics,
    Upload,
)
from floss_sim.records import RunRecord
from floss_sim.records.schema import OWN_COLUMNS
from floss_sim.runs.no_training import NoTraining


class ReplayLearner(NoTraining):
    """Learner that returns the recorded sizes and metrics of a run, but no models.

    A request beyond the recorded transfers or rounds raises KeyError.

    Args:
        record: Record of the run.
        clients: State that each client keeps after the last recorded round, by client number. It
            is returned with every upload; states of earlier rounds are never used.
    """

    identity = LearnerIdentity("replay")

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
        """Return whether the record contains a dispatch's transfer in a direction."""
        return (sequence, direction) in self._transfers

    def _row(self, client: int, sequence: int, direction: str) -> Mapping[str, Any]:
        row: Mapping[str, Any] = self._transfers[sequence, direction]
        if row["client"] != client:
            raise ValueError(f"dispatch {sequence} went to client {row['client']}, not {client}")
        return row

    def evaluate(self, version: int) -> Metrics | None:
        """Return the recorded metrics; None if the version was not evaluated."""
        row = self._rounds[version]
        if row["accuracy"] is None:
            return None
        own = [row.get(name) for name in OWN_COLUMNS.names]
        return Metrics(
            row["accuracy"],
            row["loss"],
            row["dense_accuracy"],
            row["dense_loss"],
            None if None in own else OwnMetrics(*own),
        )
