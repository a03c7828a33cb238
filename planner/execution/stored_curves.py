"""Stored learning curves of a request's candidates, whichever search trained them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median

from floss_sim.analysis.traffic import Traffic
from floss_sim.errors import RecordError
from floss_sim.records import RunFolder, RunRecord
from floss_sim.records.host_notes import host_s_per_round
from planner.candidates import Candidate
from planner.curves import Curve
from planner.execution.curve_store import CurveStore
from planner.forecasts.intervals import KnownCurves
from planner.question.request import FURTHER_SEEDS, Request


@dataclass(frozen=True)
class StoredCurves:
    """The stored curves of a request's candidates and baselines.

    Attributes:
        request: Gives task, seed and candidates; its budget and network do not matter.
        folders: Folders of the runs that have evaluated rounds, by candidate.
        records: Records of these runs, by candidate.
        skipped: Number of stored runs that cannot be read.
        again: Curves of the further seeds with which searches repeat finalists and baselines.
    """

    request: Request
    folders: Mapping[Candidate, RunFolder]
    records: Mapping[Candidate, RunRecord]
    skipped: int
    again: Mapping[Candidate, Sequence[Curve]] = field(default_factory=dict)

    @classmethod
    def of(cls, request: Request, store: CurveStore) -> StoredCurves:
        """Return the curves that a store holds; unreadable runs are skipped and counted."""
        read, skipped = _read_all(request, store)
        again: dict[Candidate, list[Curve]] = {}
        for seed in range(request.seed + 1, request.seed + 1 + FURTHER_SEEDS):
            others, _ = _read_all(replace(request, seed=seed), store)
            for candidate, found in others.items():
                if not _has_failed(found[0]):
                    again.setdefault(candidate, []).append(_curve(*found))
        folders = {c: folder for c, (folder, _) in read.items()}
        records = {c: record for c, (_, record) in read.items()}
        return cls(request, folders, records, skipped, again)

    @cached_property
    def curves(self) -> dict[Candidate, Curve]:
        """The curve of each candidate, with all trained rounds."""
        return {c: _curve(self.folders[c], record) for c, record in self.records.items()}

    @cached_property
    def known(self) -> KnownCurves:
        """The source of expected accuracies, given all these curves."""
        return self.request.known_curves(self.curves, self.again)

    def traffic(self, candidate: Candidate, first_bytes: int) -> Traffic:
        """Return the messages of a stored run; its local work is known even if no record states it.

        Args:
            candidate: A candidate with a record.
            first_bytes: Bytes of a client's first download on the network.
        """
        work = self.request.config(candidate).work
        return Traffic.of(self.records[candidate], work).with_first(first_bytes)

    def host_s(self, candidate: Candidate) -> float | None:
        """Return a run's host seconds per round; if not noted, the median of the other runs."""
        own = host_s_per_round(self.folders[candidate].path) if candidate in self.folders else None
        others = (host_s_per_round(folder.path) for folder in self.folders.values())
        known = [seconds for seconds in others if seconds is not None]
        return own if own is not None else median(known) if known else None


def _read_all(
    request: Request, store: CurveStore
) -> tuple[dict[Candidate, tuple[RunFolder, RunRecord]], int]:
    """Return the stored runs of a request, and the number of those that cannot be read."""
    read, skipped = {}, 0
    for candidate in sorted({*request.candidates, *request.baselines().values()}):
        try:
            folder = store.find(request.config(candidate))
            record = folder.record() if folder else None
        except RecordError:
            skipped += 1
            continue
        if folder and record and record.evaluated().num_rows:
            read[candidate] = folder, record
    return read, skipped


def _curve(folder: RunFolder, record: RunRecord) -> Curve:
    rows = record.evaluated().to_pylist()
    return Curve(
        evaluated=tuple(row["round"] for row in rows),
        accuracies=tuple(row["accuracy"] for row in rows),
        rounds=record.rounds.num_rows,
        failed=_has_failed(folder),
    )


def _has_failed(folder: RunFolder) -> bool:
    return folder.divergence() is not None
