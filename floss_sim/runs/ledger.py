"""Ledger of a running run: its rows, and their commits to the run folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from floss_sim.protocol import ClientState, Dispatch, Learner
from floss_sim.records import RunFolder, RunRecord, rounds_table
from floss_sim.records.host_notes import note_host
from floss_sim.records.transfer_table import TransferTable
from floss_sim.simulator import RoundOutcome

Row = dict[str, Any]


class Ledger:
    """All rows of a run; commits pending rows to the run folder, if there is one.

    Args:
        folder: Run folder, or None to keep the rows in memory only.
        timing: Timing fingerprint of the run.
        network: Name of the network profile.
        commit_every_s: Minimum host seconds between commits.
        clock: Function that returns the host seconds of this run.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        timing: str,
        network: str,
        commit_every_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._commit_every_s = commit_every_s
        self._timing = timing
        self._network = network
        self._same_timing = folder is not None and folder.manifest().timing == timing
        self._rounds: list[Row] = []
        self._transfers = TransferTable()
        self._pending = (0, 0)
        self._models: dict[int, bytes] = {}
        self._clients: Mapping[int, ClientState] = {}
        self._in_flight: tuple[Dispatch, ...] = ()
        self._clock = clock
        self._began, self._committed = clock(), time.monotonic()
        self._done = folder.manifest().rounds if folder else 0

    def add(self, row: Row, outcome: RoundOutcome, learner: Learner, replayed: bool) -> None:
        """Append a round; commit if the last commit is more than ``commit_every_s`` ago.

        Args:
            row: Row of the rounds table.
            outcome: Outcome of the round: its transfers and the clients' states.
            learner: Source of the model and the snapshot.
            replayed: Whether the round is already in the folder and was only re-simulated.
        """
        self._rounds.append(row)
        self._clients, self._in_flight = outcome.client_states, outcome.in_flight
        self._transfers.extend(outcome.transfers)
        if replayed and self._same_timing:
            self._pending = len(self._rounds), len(self._transfers)
        if replayed or self._folder is None:
            return
        if row["accuracy"] is not None:
            self._models[row["round"]] = learner.model()
        if time.monotonic() - self._committed > self._commit_every_s:
            self.commit(learner)

    def commit(self, learner: Learner) -> None:
        """Append the pending rows to the folder, if there are any."""
        rounds, transfers = self._pending
        if self._folder is None or rounds == len(self._rounds):
            return
        began = time.monotonic()
        self._folder.commit(
            self._rounds[rounds:],
            self._transfers.table()[transfers:],
            timing=self._timing,
            network=self._network,
            snapshot=replace(learner.snapshot(), clients=self._clients, in_flight=self._in_flight),
            models=self._models,
        )
        self._pending = len(self._rounds), len(self._transfers)
        self._models = {}
        self._committed = time.monotonic()
        if self._commit_every_s:  # spend at most a tenth of the time on large checkpoints
            self._commit_every_s = max(self._commit_every_s, 10 * (self._committed - began))
        elapsed_s = self._clock() - self._began
        last, peak_bytes = self._rounds[-1]["round"], learner.device_peak_bytes()
        note_host(self._folder.path, self._done, last, elapsed_s, peak_bytes)

    def record(self, description: Mapping[str, Any]) -> RunRecord:
        """Return the record of all rows, committed or not."""
        return RunRecord(description, rounds_table(self._rounds), self._transfers.table())
