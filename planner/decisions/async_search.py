"""Asynchronous search of a plan, new or by the order of decisions of an earlier plan."""

from __future__ import annotations

from floss_sim.errors import ConfigError, PlanError
from planner.execution.candidate_runs import CandidateRuns
from planner.plans.decision_section import DecisionsSection, StepSection
from planner.plans.plan import Plan
from planner.question.request import Request
from planner.search.async_strategy import (
    AsyncSearch,
    AsyncStrategy,
    FreeWorkers,
    RecordedOrder,
    Step,
)

ASYNC_SEARCH = "async-race"
MANY_WORKERS = 4  # more of them wait for each other in a race


def search_async(
    strategy: AsyncStrategy,
    runs: CandidateRuns,
    workers: int,
    recorded: DecisionsSection | None = None,
) -> None:
    """Search until nothing is left to begin; ``runs.steps`` are the decisions.

    Args:
        strategy: The strategy.
        runs: Its runs.
        workers: Runs that train at once.
        recorded: Decisions of an earlier search, which are made again.

    Raises:
        PlanError: The search departs from the recorded one.
    """
    steps = [Step(s.candidate, s.rounds, s.after, s.answered) for s in _steps(recorded)]
    order = RecordedOrder(steps) if recorded else FreeWorkers(workers)
    search = AsyncSearch(strategy, runs, order)
    runs.step_workers = recorded.workers if recorded else workers
    runs.steps = search.steps  # known after an interruption, too
    search.finish()
    if recorded and search.steps != steps:
        raise PlanError("the search departs from the recorded decisions: its curves differ")


def _steps(recorded: DecisionsSection | None) -> tuple[StepSection, ...]:
    return recorded.steps if recorded else ()


def decisions_section(request: Request, runs: CandidateRuns) -> DecisionsSection | None:
    """Return the decisions of a search as a plan has them.

    None for a synchronous search, and for one whose effort is a time: these cannot be replayed.

    Args:
        request: The question.
        runs: The runs of the search.
    """
    if not runs.steps or request.training_s is not None:
        return None
    steps = tuple(
        StepSection(candidate=s.candidate, rounds=s.rounds, after=s.after, answered=s.answered)
        for s in runs.steps
    )
    return DecisionsSection(workers=runs.step_workers, steps=steps)


def recorded_decisions(plan: Plan) -> DecisionsSection:
    """Return the decisions of a plan, to be made again.

    Raises:
        PlanError: The plan has none, or its search was interrupted.
    """
    told = plan.effort.get("decisions")
    if told is None:
        raise PlanError(f"the plan has no decisions to replay: {_reason(plan)}")
    if plan.interrupted:
        raise PlanError("the plan's search was interrupted: it cannot be replayed")
    return DecisionsSection.model_validate(told)


def _reason(plan: Plan) -> str:
    if plan.effort["search"] != ASYNC_SEARCH:
        return f"--search {plan.effort['search']} makes the same ones whenever it is repeated"
    return "its effort was a time"


def check_async(request: Request, *, replays: bool = False) -> None:
    """Check that a request can be searched asynchronously, if it asks for that.

    Args:
        request: The question.
        replays: Whether recorded decisions are made again.

    Raises:
        ConfigError: It cannot.
    """
    if replays and (request.search != ASYNC_SEARCH or request.training_s is not None):
        raise ConfigError(f"a replay needs --search {ASYNC_SEARCH} and an effort that is no time")
    if request.search == ASYNC_SEARCH and request.objective.target is not None:
        raise ConfigError(f"--search {ASYNC_SEARCH} searches for the best accuracy: no --target")
