"""Training of a search: its strategy until the effort is spent, then further seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

from planner.candidates import Candidate
from planner.decisions.further_seeds import RepeatTerms, next_repeats, rounds_of_repeats
from planner.decisions.recommend import options
from planner.decisions.search_passes import SearchPasses
from planner.decisions.target_search import seek_cheaper, target_outcomes
from planner.execution.candidate_runs import CandidateRuns
from planner.forecasts.intervals import KnownCurves
from planner.plans.outcome import Outcome
from planner.question.request import FURTHER_SEEDS, Request
from planner.search.async_race import AsyncRace
from planner.search.race import Race
from planner.search.strategy import Strategy


def train_search(passes: SearchPasses, strategy: Strategy, runs: CandidateRuns) -> None:
    """Search for the best accuracy, or for a target and then for cheaper runs that reach it."""
    request, costs = passes.request, passes.costs
    passes.search(strategy, runs)
    runs.finish_baselines()
    reached = reached_outcomes(request, runs, runs.known_curves())
    if reached.keys() & set(costs.searched):
        left, start = partial(passes.rounds_left, runs), partial(passes.start, earlier=runs)
        seek_cheaper(request, costs, runs, left, start)
    else:
        kept = passes.reserved_rounds(runs.asked_rounds + passes.rounds_left(runs))
        runs.finish(runs.finished_candidates(), kept)


def train_further_runs(passes: SearchPasses, strategy: Strategy, runs: CandidateRuns) -> bool:
    """Go on with a race in the rounds that were kept for further seeds and are not needed.

    A run is finished only if the rounds suffice for its own further seeds, too, unless they suffice
    for none at all. An asynchronous race leaves these rounds. Return whether the race ended because
    what was left of its effort promised little gain.
    """
    if isinstance(strategy, AsyncRace):
        return strategy.has_little_to_gain(runs.asked_history())
    if not isinstance(strategy, Race):
        return False
    if strategy.has_little_to_gain(runs.asked_history()):
        return True
    if passes.request.objective.target is not None:
        return False
    while (left := passes.rounds_left(runs)) > 0:
        needed = rounds_of_repeats(*_repeat_terms(passes, runs))
        history, effort = runs.asked_history(), runs.asked_rounds + left - needed
        repeats = FURTHER_SEEDS if needed else 0
        if strategy.has_little_to_gain(history, effort, repeats):
            return True
        if not (extensions := strategy.further_extensions(history, effort, repeats)):
            break
        runs.extend(extensions)
        runs.finish(runs.finished_candidates(), needed)
    return False


def train_further_seeds(passes: SearchPasses, runs: CandidateRuns) -> None:
    """Train finalists and baselines with further seeds, as far as the effort allows."""
    if passes.request.objective.target is not None:
        return
    while chosen := next_repeats(*_repeat_terms(passes, runs)):
        runs.repeat(chosen)


def _repeat_terms(passes: SearchPasses, runs: CandidateRuns) -> RepeatTerms:
    """Return the arguments of :func:`planner.decisions.further_seeds.next_repeats`."""
    request = passes.request
    known = options_of(request, runs, runs.known_curves())
    made = {c: outcome.interval for c, outcome in known.items() if outcome.interval}
    able = {c: interval for c, interval in made.items() if c not in runs.further.unrepeatable}
    searched = {c: interval for c, interval in able.items() if c in passes.costs.searched}
    seeds = {c: len(curves) for c, curves in runs.further.curves.items()}
    baselines = [c for c in request.baselines().values() if c in able]
    return searched, seeds, runs.targets, passes.rounds_left(runs), baselines


def options_of(
    request: Request, runs: CandidateRuns, known: KnownCurves
) -> dict[Candidate, Outcome]:
    """Return the runs to choose among, with their intervals; empty if none has finished."""
    finished = with_intervals(known, _outcomes(runs, runs.finished_candidates()))
    ended = with_intervals(known, _outcomes(runs, runs.ended_candidates()))
    return options(finished, ended, request.baselines().values()) if finished else {}


def reached_outcomes(
    request: Request, runs: CandidateRuns, known: KnownCurves
) -> dict[Candidate, Outcome]:
    """Return the runs that reached the target, cut where they did; empty without a target."""
    target = request.objective.target
    return {} if target is None else target_outcomes(runs, known.history, known, target)


def with_intervals(
    known: KnownCurves, outcomes: Mapping[Candidate, Outcome]
) -> dict[Candidate, Outcome]:
    """Return outcomes with the intervals of their accuracy, given all known curves."""
    made = known.intervals({c: outcome.rounds for c, outcome in outcomes.items()})
    return {c: replace(outcome, interval=made[c]) for c, outcome in outcomes.items()}


def _outcomes(runs: CandidateRuns, among: Iterable[Candidate]) -> dict[Candidate, Outcome]:
    found = {c: runs.outcome(c) for c in among}
    return {c: outcome for c, outcome in found.items() if outcome}
