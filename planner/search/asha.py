"""ASHA: asynchronous successive halving (Li et al. 2020), in batches of a few slots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from planner.candidates import Candidate
from planner.search.rungs import RUNGS
from planner.search.scripted import EffortLedger, Script, ScriptedStrategy
from planner.search.strategy import Extension

SLOTS = 4  # runs trained at a time
_ETA = 3  # one of this many runs on a rung is promoted
_TOP = len(RUNGS) - 1


@dataclass(frozen=True)
class Asha(ScriptedStrategy):
    """ASHA: each slot promotes a run of the best third of its rung, or starts a new run.

    A promotion does not wait until its rung is full. ``SLOTS`` slots are filled at a time and wait
    for each other; in the original algorithm workers never wait. Rungs are fractions of each
    candidate's own horizon. The remaining effort always suffices to finish the leader, which is
    the best run on the highest rung. At the end the remaining effort finishes the best runs.
    """

    def script(self) -> Script:
        """Fill the slots until the effort allows no further job, then finish the best runs."""
        state = _RungState(EffortLedger(self), self.affordable_candidates())
        while jobs := state.jobs():
            yield from state.ledger.ask(Extension(c, rounds) for c, rounds in jobs.items())
            state.settle(jobs)
        yield from state.ledger.ask(
            state.ledger.finishing_extensions(state.standings(), state.ledger.rounds_left)
        )


@dataclass
class _RungState:
    """State of the rungs: the scores of the runs on each, and the candidates not yet started."""

    ledger: EffortLedger
    waiting: list[Candidate]
    scores: list[dict[Candidate, float]] = field(default_factory=lambda: [{} for _ in RUNGS])

    def jobs(self) -> dict[Candidate, int]:
        """Return the next jobs of the slots: total rounds of training, by candidate."""
        jobs: dict[Candidate, int] = {}
        leader = self.standings()[:1]
        for candidate, rung in self._options():
            target = max(self.ledger.target(candidate, rung), self.ledger.curve(candidate).rounds)
            if self._affords({**jobs, candidate: target}, leader):
                jobs[candidate] = target
            if len(jobs) == SLOTS:
                break
        return jobs

    def settle(self, jobs: Mapping[Candidate, int]) -> None:
        """Record the scores of trained jobs on their new rungs."""
        self.waiting = [candidate for candidate in self.waiting if candidate not in jobs]
        for candidate in jobs:
            rung = sum(candidate in scores for scores in self.scores)
            self.scores[rung][candidate] = self.ledger.score(candidate)

    def standings(self) -> list[Candidate]:
        """Return all runs, those on the highest rung first, each rung sorted by accuracy."""
        seen = (c for rung in range(_TOP, -1, -1) for c in self._rung_ranking(rung))
        return list(dict.fromkeys(seen))

    def _options(self) -> Iterator[tuple[Candidate, int]]:
        """Yield possible jobs with their rungs: promotions, highest rung first, then new runs."""
        for rung in range(_TOP - 1, -1, -1):
            best = self._rung_ranking(rung)[: len(self.scores[rung]) // _ETA]
            yield from ((c, rung + 1) for c in best if c not in self.scores[rung + 1])
        yield from ((candidate, 0) for candidate in self.waiting)

    def _rung_ranking(self, rung: int) -> list[Candidate]:
        scores, terms = self.scores[rung], self.ledger.terms
        alive = (c for c in scores if not self.ledger.curve(c).failed)
        return sorted(alive, key=lambda c: terms.sort_key(c, scores[c]))

    def _affords(self, jobs: Mapping[Candidate, int], leader: Sequence[Candidate]) -> bool:
        """Return whether the effort suffices for jobs and for finishing any leader after them."""
        more = {c: rounds - self.ledger.curve(c).rounds for c, rounds in jobs.items()}
        leaders = [*leader, *jobs]
        reserve = max(max(0, self.ledger.missing_rounds(c) - more.get(c, 0)) for c in leaders)
        return sum(more.values()) + reserve <= self.ledger.rounds_left
