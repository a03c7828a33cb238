"""From a request to a plan: costs, search, baselines, choice."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import replace

from floss_sim.errors import BudgetError
from planner.choice import choose, contenders, reserve
from planner.cost import Costs, price
from planner.intervals import intervals
from planner.plan import Outcome, Plan
from planner.request import Request
from planner.runs import OnProgress, Runs
from planner.search import search
from planner.space import Candidate
from planner.store import CurveStore, measured
from planner.strategies import DEFAULT, maker


def make_plan(
    request: Request, store: CurveStore, executor: Executor, on_progress: OnProgress
) -> Plan:
    """Search, train and choose.

    Args:
        request: What is asked.
        store: Where curves are kept.
        executor: Trains; runs functions of picklable arguments.
        on_progress: Called with a stage, rounds done and rounds expected at most.

    Raises:
        BudgetError: No candidate can afford a round, or the effort finishes no run.
        ConfigError: There is no such search, or it lacks a library.
        FlossError: A run cannot be stored, or every run diverged.
    """
    request = request.checked()
    make = maker(request.search)
    on_progress("predicting costs", 0, 0)
    costs = price(request)
    effort = int(request.effort * costs.grid_rounds)
    horizons = {c: costs.of[c].horizon for c in costs.searched}
    kept = reserve(effort, horizons.values()) if request.search == DEFAULT else 0
    strategy = make(
        horizons,
        {c: costs.of[c].run_bytes for c in costs.searched},
        effort - kept,
        request.seed,
        measured,
        request.judged()["validation"],
    )
    runs = Runs(request, costs, store, executor, on_progress, strategy.expected)
    search(strategy, runs.extend)
    runs.finish(runs.finished(), effort - kept)
    found = {c: runs.outcome(c) for c in runs.finished()}
    outcomes = {c: outcome for c, outcome in found.items() if outcome}
    if not outcomes:
        raise BudgetError(
            "no run finished a round within the budget: real bytes took more than the predicted"
            if found
            else "every run diverged; lower the task's learning rates"
        )
    return _plan(request, costs, runs, _judged(request, costs, runs, outcomes, effort), effort)


def _judged(
    request: Request,
    costs: Costs,
    runs: Runs,
    outcomes: Mapping[Candidate, Outcome],
    effort: int,
) -> dict[Candidate, Outcome]:
    """Return outcomes with their intervals; finalists run again if the effort allows."""
    asked = {c: outcome.rounds for c, outcome in outcomes.items()}
    examples, longest = request.judged()["validation"], max(c.horizon for c in costs.of.values())
    known = intervals(runs.history(), asked, examples, longest)
    eligible = {c: known[c] for c in outcomes if c in costs.searched} or known
    left = effort - sum(runs.asked.values())
    if again := contenders(eligible, runs.targets, left):
        runs.replicate(again, request.seed + 1)
        known = intervals(runs.history(), asked, examples, longest, again=runs.again)
    return {c: replace(outcome, interval=known[c]) for c, outcome in outcomes.items()}


def _plan(
    request: Request,
    costs: Costs,
    runs: Runs,
    outcomes: Mapping[Candidate, Outcome],
    effort: int,
) -> Plan:
    """Choose on validation, then measure what is reported on test."""
    eligible = [outcomes[c] for c in outcomes if c in costs.searched] or list(outcomes.values())
    choice = choose(eligible, request.judged()["validation"])
    baselines = request.baselines()
    reported = {choice.recommendation.candidate, *baselines.values()} & outcomes.keys()
    tested = {o.candidate: o for o in runs.tested([outcomes[c] for c in sorted(reported)])}
    return Plan(
        request=request.to_json(),
        limit=costs.limit,
        recommendation=tested[choice.recommendation.candidate],
        runners_up=choice.others,
        margin=choice.margin,
        best_accuracy=choice.best_accuracy,
        baselines={name: tested.get(candidate) for name, candidate in baselines.items()},
        effort={
            "search": request.search,
            "searched": len(costs.searched),
            "unaffordable": len(set(request.candidates)) - len(costs.searched),
            "starters": len(runs.asked),
            "grid_rounds": costs.grid_rounds,
            "limit_rounds": effort,
            "search_rounds": sum(runs.asked.values()) + runs.again_rounds,
            "replicated": len(runs.again),
            "trained_now_rounds": runs.trained,
        },
        costs=tuple(
            {**c.settings(), **costs.of[c].to_json(), **runs.seen(c)} for c in costs.searched
        ),
    )
