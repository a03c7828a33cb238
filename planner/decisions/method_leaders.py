"""Leaders of methods: the most promising run of each, trained to its end.

A search trains the runs that may raise the best accuracy, and drops the other methods early. A run
that was ended early does not show how good its method is. Therefore a search over several methods
keeps rounds for one run of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from planner.candidates import Candidate
from planner.decisions.search_passes import SearchPasses
from planner.execution.candidate_runs import CandidateRuns
from planner.forecasts.intervals import Interval
from planner.search.async_race import AsyncRace
from planner.search.following import AsyncFollowing
from planner.search.strategy import Extension, Strategy


def train_method_leaders(passes: SearchPasses, strategy: Strategy, runs: CandidateRuns) -> None:
    """Train the most promising run of each method to its end, as far as the effort allows.

    A search of one method has none. A search for a target seeks the cheapest run alone, and the
    decisions of an asynchronous race are recorded as its own.
    """
    methods = {c.method for c in passes.costs.searched}
    asynchronous = isinstance(strategy, AsyncRace | AsyncFollowing)
    if len(methods) < 2 or asynchronous or passes.request.objective.target is not None:
        return
    curves = runs.history()
    ends = {
        c: passes.finish_round(c, runs)
        for c in passes.costs.searched
        if c not in curves or not curves[c].failed
    }
    missing = {c: max(0, rounds - runs.targets.get(c, 0)) for c, rounds in ends.items()}
    known = runs.known_curves().intervals(ends)
    leaders = method_leaders(known, missing, passes.rounds_left(runs))
    if leaders:
        runs.extend([Extension(c, ends[c]) for c in leaders])
        runs.finish(runs.finished_candidates())


def method_leaders(
    known: Mapping[Candidate, Interval], missing: Mapping[Candidate, int], left: int
) -> list[Candidate]:
    """Return the runs to train to their ends: one of each method that has no better finished run.

    A method's leader is the candidate of the best expected accuracy whose missing rounds are left.
    Methods whose leaders lack few rounds come first.

    Args:
        known: Accuracy intervals of candidates at the ends of their runs.
        missing: Rounds that each of them lacks; 0 if its run is finished.
        left: Rounds that may be trained.
    """
    chosen: list[Candidate] = []
    open_ = {c.method for c in known}
    while open_:
        able = {name: _leader(name, known, missing, left) for name in sorted(open_)}
        found = [c for c in able.values() if c and missing[c]]
        if not found:
            break
        leader = min(found, key=lambda c: (missing[c], c))
        chosen.append(leader)
        left -= missing[leader]
        open_.discard(leader.method)
    return chosen


def _leader(
    method: str, known: Mapping[Candidate, Interval], missing: Mapping[Candidate, int], left: int
) -> Candidate | None:
    """Return the most promising candidate of a method that the rounds left finish."""
    able: Iterable[Candidate] = (c for c in known if c.method == method and missing[c] <= left)
    return min(able, key=lambda c: (-known[c].mean, missing[c], c), default=None)
