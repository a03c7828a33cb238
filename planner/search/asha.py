"""ASHA: asynchronous successive halving (Li et al. 2020), in turns of a few slots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from planner.candidates import Candidate
from planner.search.rungs import RUNGS
from planner.search.scripted import EffortLedger, Script, ScriptedStrategy
from planner.search.strategy import Extension

SLOTS = 4
_ETA = 3
_TOP = len(RUNGS) - 1


@dataclass(frozen=True)
class Asha(ScriptedStrategy):
    """Each free slot promotes a run out of the best third of its rung, or starts a new one.

    No rung waits until it is full. ``SLOTS`` slots are filled at a time and wait for each other,
    which is where this differs from workers that never wait. Rungs are fractions of each
    candidate's own horizon. What is left of the effort always suffices to finish the leader (the
    best run on the highest rung), and in the end finishes the best that it can.
    """

    def script(self) -> Script:
        """Fill the slots until nothing fits, then finish the best."""
        state = _RungState(EffortLedger(self), self.affordable_candidates())
        while jobs := state.jobs():
            yield from state.ledger.ask(Extension(c, rounds) for c, rounds in jobs.items())
            state.settle(jobs)
        yield from state.ledger.ask(
            state.ledger.finishing_extensions(state.standings(), state.ledger.rounds_left)
        )


@dataclass
class _RungState:
    """The runs on each rung, and those that wait to be started."""

    ledger: EffortLedger
    waiting: list[Candidate]
    scores: list[dict[Candidate, float]] = field(default_factory=lambda: [{} for _ in RUNGS])

    def jobs(self) -> dict[Candidate, int]:
        """Return what the slots train next: rounds in all, by candidate."""
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
        """Take the runs that were trained up to their new rungs."""
        self.waiting = [candidate for candidate in self.waiting if candidate not in jobs]
        for candidate in jobs:
            rung = sum(candidate in scores for scores in self.scores)
            self.scores[rung][candidate] = self.ledger.score(candidate)

    def standings(self) -> list[Candidate]:
        """Return all runs: those on the highest rung first, by accuracy."""
        seen = (c for rung in range(_TOP, -1, -1) for c in self._rung_ranking(rung))
        return list(dict.fromkeys(seen))

    def _options(self) -> Iterator[tuple[Candidate, int]]:
        """Yield what slots may train and to which rung: promotions, the highest first, then new."""
        for rung in range(_TOP - 1, -1, -1):
            best = self._rung_ranking(rung)[: len(self.scores[rung]) // _ETA]
            yield from ((c, rung + 1) for c in best if c not in self.scores[rung + 1])
        yield from ((candidate, 0) for candidate in self.waiting)

    def _rung_ranking(self, rung: int) -> list[Candidate]:
        scores, terms = self.scores[rung], self.ledger.terms
        alive = (c for c in scores if not self.ledger.curve(c).failed)
        return sorted(alive, key=lambda c: terms.sort_key(c, scores[c]))

    def _affords(self, jobs: Mapping[Candidate, int], leader: Sequence[Candidate]) -> bool:
        """Return whether the effort suffices for jobs and then to finish who may lead by then."""
        more = {c: rounds - self.ledger.curve(c).rounds for c, rounds in jobs.items()}
        leaders = [*leader, *jobs]
        reserve = max(max(0, self.ledger.missing_rounds(c) - more.get(c, 0)) for c in leaders)
        return sum(more.values()) + reserve <= self.ledger.rounds_left
