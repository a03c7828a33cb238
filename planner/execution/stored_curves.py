"""Stored learning curves of a request's candidates, whichever search trained them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from floss_sim.errors import RecordError
from floss_sim.records import RunFolder, RunRecord
from floss_sim.records.host_notes import host_s_per_round
from planner.candidates import Candidate
from planner.curves import Curve
from planner.execution.curve_store import CurveStore
from planner.question.request import Request


@dataclass(frozen=True)
class StoredCurves:
    """The stored curves of a request's candidates and baselines.

    Attributes:
        request: Gives task, seed and candidates; its budget and network do not matter.
        folders: Folders of the runs that have evaluated rounds, by candidate.
        records: Records of these runs, by candidate.
        skipped: Number of stored runs that cannot be read.
    """

    request: Request
    folders: Mapping[Candidate, RunFolder]
    records: Mapping[Candidate, RunRecord]
    skipped: int

    @classmethod
    def of(cls, request: Request, store: CurveStore) -> StoredCurves:
        """Return the curves that a store holds; unreadable runs are skipped and counted."""
        folders: dict[Candidate, RunFolder] = {}
        records: dict[Candidate, RunRecord] = {}
        skipped = 0
        for candidate in sorted({*request.candidates, *request.baselines().values()}):
            try:
                folder = store.find(request.config(candidate))
                record = folder.record() if folder else None
            except RecordError:
                skipped += 1
                continue
            if folder and record and record.evaluated().num_rows:
                folders[candidate], records[candidate] = folder, record
        return cls(request, folders, records, skipped)

    @cached_property
    def curves(self) -> dict[Candidate, Curve]:
        """The curve of each candidate, with all trained rounds."""
        return {c: self._curve(c) for c in self.records}

    def _curve(self, candidate: Candidate) -> Curve:
        rows = self.records[candidate].evaluated().to_pylist()
        return Curve(
            evaluated=tuple(row["round"] for row in rows),
            accuracies=tuple(row["accuracy"] for row in rows),
            rounds=self.records[candidate].rounds.num_rows,
            failed=self.folders[candidate].divergence() is not None,
        )

    def host_s(self, candidate: Candidate) -> float | None:
        """Return a run's host seconds per round; if not noted, the median of the other runs."""
        own = host_s_per_round(self.folders[candidate].path) if candidate in self.folders else None
        others = (host_s_per_round(folder.path) for folder in self.folders.values())
        known = [seconds for seconds in others if seconds is not None]
        return own if own is not None else median(known) if known else None
