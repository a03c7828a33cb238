"""Explanation of a plan: use of budget and time, neighbours, value of more budget or search."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from floss_sim.network import NetworkProfile
from floss_sim.records import RunRecord
from planner.candidates import Candidate, own_text
from planner.curves import History
from planner.execution.curve_store import last_evaluated_round
from planner.forecasts.gain import expected_gain
from planner.forecasts.intervals import KnownCurves
from planner.plans.explanation import (
    Axis,
    EvidenceKind,
    Explanation,
    MoreBudget,
    Neighbour,
    Range,
    StopRule,
)
from planner.plans.outcome import CLIENT_LIMIT, EFFORT, FALL, PRIVACY, Outcome
from planner.plans.time_shares import round_time, upload_share
from planner.question.budget import Limit

TENTH = 1.1  # factor: 10 % more budget


@dataclass(frozen=True)
class SearchResult:
    """Result of a search that has ended.

    Attributes:
        outcomes: Outcomes of the runs that the choice was made among, baselines included.
        known: Curves of all runs, up to the rounds that this search has asked for.
        horizons: Rounds that the budget affords every candidate, by real bytes where known.
        cap: Most rounds of the recommended run, whatever the budget.
    """

    outcomes: Mapping[Candidate, Outcome]
    known: KnownCurves
    horizons: Mapping[Candidate, int]
    cap: int

    @property
    def history(self) -> History:
        """The known curves by candidate."""
        return self.known.history

    @property
    def examples(self) -> int:
        """Validation examples behind every accuracy."""
        return self.known.examples

    def ranges(self, asked: Mapping[Candidate, int]) -> dict[Candidate, Range]:
        """Return accuracy intervals of candidates at given rounds; empty without any curve."""
        return {c: Range.of(interval) for c, interval in self.known.intervals(asked).items()}

    def unfinished_horizons(self) -> dict[Candidate, int]:
        """Return the last evaluated round within the horizon of each unfinished candidate.

        Runs that the effort ended are included, diverged runs are excluded.
        """
        failed = {c for c, curve in self.history.items() if curve.failed}
        finished = {c for c, outcome in self.outcomes.items() if outcome.binds != EFFORT}
        others = self.horizons.keys() - finished - failed
        return {c: last_evaluated_round(self.horizons[c]) for c in sorted(others)}


def explain(
    best: Outcome, record: RunRecord, profile: NetworkProfile, limit: Limit, known: SearchResult
) -> Explanation:
    """Return the explanation of a recommendation.

    Args:
        best: The recommended outcome.
        record: The recommended run, timed on the plan's network.
        profile: The plan's network.
        limit: The budget on this network.
        known: The result of the search.
    """
    unfinished = known.unfinished_horizons()
    return Explanation(
        spent_on_uploads=upload_share(record, limit, best.rounds),
        time=round_time(record, profile, limit, best.rounds),
        neighbours=tuple(_neighbours(best.candidate, known)),
        tenth=_more_budget(best, known),
        stop=_stop(known, unfinished),
    )


def axis_neighbours(
    candidate: Candidate, space: Mapping[Candidate, int]
) -> list[tuple[Axis, Candidate]]:
    """Return the candidates of a space that differ from one on a single axis by one step.

    They are of the same method: methods have no order, and are compared by their best runs
    (:mod:`planner.decisions.method_results`).
    """
    near: list[tuple[Axis, Candidate]] = []
    alike = [c for c in (*space, candidate) if c.method == candidate.method]
    for axis in get_args(Axis):
        if axis == "options":
            near += [(axis, c) for c in _number_neighbours(candidate, alike)]
            continue
        others = _next_values(getattr(candidate, axis), {getattr(c, axis) for c in alike})
        near += [(axis, replace(candidate, **{axis: value})) for value in others]
    return [(axis, c) for axis, c in near if c in space]


def _next_values(value: Any, values: Collection[Any]) -> list[Any]:
    """Return the values next to one of them, the smaller one first."""
    ordered = sorted(values)
    at = ordered.index(value)
    return [ordered[i] for i in (at - 1, at + 1) if 0 <= i < len(ordered)]


def _number_neighbours(candidate: Candidate, alike: Sequence[Candidate]) -> Iterator[Candidate]:
    """Yield the candidates that differ by one step in a number that only the method has."""
    own = candidate.own
    for name, value in own.items():
        values = {c.own[name] for c in alike if name in c.own}
        for other in _next_values(value, values):
            yield replace(candidate, options=own_text({**own, name: other}))


def _neighbours(best: Candidate, known: SearchResult) -> Iterator[Neighbour]:
    near, unfinished = axis_neighbours(best, known.horizons), known.unfinished_horizons()
    made = known.ranges({c: unfinished[c] for _, c in near if c in unfinished})
    for axis, candidate in near:
        outcome, rounds = known.outcomes.get(candidate), known.horizons[candidate]
        range_ = made.get(candidate)
        unmeasured: EvidenceKind = "unknown" if range_ is None else "forecast"
        yield Neighbour(
            axis=axis,
            candidate=candidate,
            rounds=outcome.rounds if outcome else rounds,
            kind="measured" if outcome else unmeasured,
            accuracy=outcome.expected_accuracy if outcome else range_.mean if range_ else None,
            interval=None if outcome else range_,
        )


def _more_budget(best: Outcome, known: SearchResult) -> MoreBudget | None:
    more = last_evaluated_round(min(known.cap, best.rounds_within(TENTH)))
    if more <= best.rounds or best.binds in (CLIENT_LIMIT, PRIVACY, FALL, EFFORT):
        return MoreBudget(rounds=best.rounds)
    made = known.ranges({best.candidate: more}).get(best.candidate)
    return MoreBudget(rounds=more, accuracy=made) if made else None


def _stop(known: SearchResult, unfinished: Mapping[Candidate, int]) -> StopRule | None:
    best = max(outcome.expected_accuracy for outcome in known.outcomes.values())
    if gain := expected_gain(known.known, best, unfinished):
        return StopRule(
            candidate=gain.candidate,
            rounds=gain.rounds,
            gain=gain.improvement,
            all_rounds=gain.all_rounds,
            all_gain=gain.all_improvement,
            noise=gain.noise,
            forecast_mean=gain.forecast.mean,
            forecast_sd=gain.forecast.sd,
        )
    return None
