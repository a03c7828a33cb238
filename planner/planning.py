"""From a request to a plan: costs, search, baselines, choice."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import replace

from floss_sim.errors import BudgetError
from planner.choice import choose
from planner.cost import Costs, price
from planner.explain import Known, explain
from planner.plan import Outcome, Plan
from planner.progress import OnProgress, Progress
from planner.request import Request
from planner.runs import Runs
from planner.search import search
from planner.space import Candidate
from planner.store import CurveStore, measured
from planner.strategies import maker


class StoppedError(Exception):
    """The user stopped a search that had finished a run; ``plan`` is the best so far."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("interrupted")
        self.plan = plan


def make_plan(
    request: Request, store: CurveStore, executor: Executor, on_progress: OnProgress
) -> Plan:
    """Search, train and choose.

    Args:
        request: What is asked.
        store: Where curves are kept.
        executor: Trains; runs functions of picklable arguments.
        on_progress: Told a few times a second how far the search has got.

    Raises:
        BudgetError: No candidate can afford a round, or the effort finishes no run.
        ConfigError: There is no such search, or it lacks a library.
        StoppedError: By the user; it holds the best plan so far. Without one, KeyboardInterrupt.
        FlossError: A run cannot be stored, or every run diverged.
    """
    request = request.checked()
    make = maker(request.search)
    on_progress(Progress("predicting costs"))
    costs = price(request)
    effort = int(request.effort * costs.grid_rounds)
    strategy = make(
        {c: costs.of[c].horizon for c in costs.searched},
        {c: costs.of[c].run_bytes for c in costs.searched},
        effort,
        request.seed,
        measured,
        request.judged()["validation"],
    )
    runs = Runs(request, costs, store, executor, on_progress, strategy.expected)
    try:
        search(strategy, runs.extend)
        runs.finish(runs.finished(), effort)
    except KeyboardInterrupt:
        runs.stop()
        outcomes = _outcomes(runs)
        if not outcomes:
            raise
        plan = _plan(request, costs, runs, outcomes, effort)
        raise StoppedError(replace(plan, interrupted=True)) from None
    outcomes = _outcomes(runs)
    if not outcomes:
        raise BudgetError(
            "no run finished a round within the budget: real bytes took more than the predicted"
            if runs.finished()
            else "every run diverged; lower the task's learning rates"
        )
    return _plan(request, costs, runs, outcomes, effort)


def _outcomes(runs: Runs) -> dict[Candidate, Outcome]:
    found = {c: runs.outcome(c) for c in runs.finished()}
    return {c: outcome for c, outcome in found.items() if outcome}


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
    best = choice.recommendation
    known = Known(
        outcomes,
        runs.history(),
        {c: runs.horizon(c) for c in costs.searched},
        request.judged()["validation"],
        request.max_rounds,
    )
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
            "search_rounds": sum(runs.asked.values()),
            "trained_now_rounds": runs.trained,
        },
        costs=tuple(
            {**c.settings(), **costs.of[c].to_json(), **runs.seen(c)} for c in costs.searched
        ),
        explanation=explain(best, runs.timed(best.candidate), request.profile, costs.limit, known),
    )
