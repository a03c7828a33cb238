"""Runs of a plan's candidates that were repeated with further seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from planner.candidates import Candidate
from planner.curves import Curve
from planner.execution.candidate_records import curve_of
from planner.execution.curve_store import CurveStore, Job
from planner.question.request import Request


class FurtherSeeds:
    """Repetitions of finished runs.

    Attributes:
        curves: Curves of repeated runs, in the order of their seeds, by candidate.
        rounds: Number of rounds that were asked for.
        unrepeatable: Candidates of which a further seed diverged or was not finished.
        jobs: All runs that were asked for.

    Args:
        request: The question, with the first seed.
        store: Store of the runs.
    """

    def __init__(self, request: Request, store: CurveStore) -> None:
        self._request = request
        self._store = store
        self.curves: dict[Candidate, list[Curve]] = {}
        self.rounds = 0
        self.unrepeatable: set[Candidate] = set()
        self.jobs: list[Job] = []

    def with_seed(self, number: int) -> Request:
        """Return the request with its seed, number 0, or with a further one."""
        return replace(self._request, seed=self._request.seed + number)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the finished runs, the request's first."""
        most = max(map(len, self.curves.values()), default=0)
        return tuple(range(self._request.seed, self._request.seed + 1 + most))

    def ask(self, candidates: Iterable[Candidate], lasts: Mapping[Candidate, int]) -> list[Job]:
        """Return the next runs of candidates, each up to the last round of its first run.

        Args:
            candidates: The candidates, each once for every seed.
            lasts: Last round of each first run.
        """
        numbers = {c: len(curves) for c, curves in self.curves.items()}
        jobs: list[Job] = []
        for candidate in candidates:
            numbers[candidate] = numbers.get(candidate, 0) + 1
            config = self.with_seed(numbers[candidate]).config(candidate)
            jobs.append((config, lasts[candidate]))
        self.jobs += jobs
        return jobs

    def note(
        self, candidates: Sequence[Candidate], jobs: Sequence[Job], trained: Sequence[int | None]
    ) -> None:
        """Take the curves of runs that were trained.

        Args:
            candidates: The candidates, as in :meth:`ask`.
            jobs: Their runs.
            trained: Rounds that each trained now; None if it diverged.
        """
        for candidate, (config, rounds), ran in zip(candidates, jobs, trained, strict=True):
            folder = self._store.folder(config)
            reached = min(rounds, folder.manifest().rounds)
            self.rounds += rounds if ran is None else reached
            whole = ran is not None and reached == rounds
            if whole and candidate not in self.unrepeatable:
                self.curves.setdefault(candidate, []).append(curve_of(folder, rounds))
            else:
                self.unrepeatable.add(candidate)
