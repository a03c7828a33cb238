"""Better stored run: what the store holds for the same question beyond a plan's own search.

A plan rests on the rounds of its own search alone. The store may hold a clearly better run, which
a larger budget or another search has trained.
"""

from __future__ import annotations

from collections.abc import Iterator

from floss_sim.analysis.traffic import Traffic
from planner.candidates import Candidate
from planner.decisions.recommend import rank
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.execution.stored_curves import StoredCurves
from planner.forecasts.falls import peak_round
from planner.forecasts.smoothing import smoothed_accuracy
from planner.plans.explanation import Range
from planner.plans.plan import Plan
from planner.plans.stored_run import StoredRun
from planner.question.budget import Limit
from planner.question.cost import resolve_limit
from planner.question.request import Request


def better_stored_run(made: Plan, request: Request, store: CurveStore) -> StoredRun | None:
    """Return the best stored run whose whole interval is above that of the recommended run.

    It keeps to the request's cap on rounds, its epsilon, and its limits of a client and of a round.
    Ties go to fewer bytes, as in a plan. None if there is none, and for a target that was reached.

    Args:
        made: The plan.
        request: Its question.
        store: Store of the curves; it is not changed.
    """
    best = made.recommendation.interval
    if best is None or made.reached:
        return None
    stored = StoredCurves.of(request, store)
    ends = dict(_ends(stored, request, best.high))
    known = stored.known.intervals(ends) if ends else {}
    limit = resolve_limit(request)
    first_bytes = request.profile.first_download
    traffic = {
        c: stored.traffic(c, first_bytes).until(ends[c])
        for c, interval in known.items()
        if interval.low > best.high
    }
    kept = {c: t for c, t in traffic.items() if _keeps_to_limits(t, limit, request)}
    if not kept:
        return None
    nbytes = {c: float(t.nbytes()[-1]) for c, t in kept.items()}
    chosen = rank({c: known[c] for c in kept}, nbytes).order[0]
    return StoredRun(
        candidate=chosen,
        rounds=ends[chosen],
        accuracy=known[chosen].mean,
        interval=Range.of(known[chosen]),
        total_bytes=int(nbytes[chosen]),
        budget_spent=float(limit.spending(kept[chosen])[-1] / limit.amount),
    )


def _ends(stored: StoredCurves, request: Request, least: float) -> Iterator[tuple[Candidate, int]]:
    """Yield the runs whose own accuracy is above ``least``, each with the round where it ends."""
    for candidate, curve in stored.curves.items():
        end = last_evaluated_round(min(curve.rounds, request.max_rounds))
        end = peak_round(curve.until(end), stored.known.examples) or end
        own = smoothed_accuracy(curve.evaluated, curve.accuracies, end)
        if not curve.failed and own > least:
            yield candidate, end


def _keeps_to_limits(traffic: Traffic, limit: Limit, request: Request) -> bool:
    """Return whether a run keeps to all limits but its budget's."""
    rounds, cohort = traffic.shape
    if traffic.busiest_bytes()[-1] > limit.client_bytes:
        return False
    if rounds > limit.private_rounds.get(cohort, rounds):
        return False
    return bool(limit.closing_times(traffic)[-1] <= request.max_round_s * rounds)
