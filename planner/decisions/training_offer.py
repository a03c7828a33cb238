"""What ten minutes of training would buy, where a task is only forecast from other tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from floss_sim.errors import BudgetError
from planner.execution.curve_store import CurveStore
from planner.execution.effort import effort_of_time
from planner.execution.pace import Pace, stored_pace
from planner.question.cost import price
from planner.question.request import Request

OFFER_S = 600.0  # seconds of training


@dataclass(frozen=True)
class TrainingOffer:
    """A search of ten minutes, and what such searches reached on tasks left out of the prior.

    Attributes:
        training_s: Seconds of training.
        rounds: Rounds that they train on this machine.
        share: These rounds as a fraction of those that the budget affords all candidates.
        regret: Points by which the prior's favourite was off the best, in the mean over tasks.
        worst_regret: The same of the worst task.
        regret_after: Points by which a plan of this share was off the best, in the mean over tasks.
        worst_regret_after: The same of the worst task.
    """

    training_s: float
    rounds: int
    share: float
    regret: float
    worst_regret: float
    regret_after: float
    worst_regret_after: float

    def to_json(self) -> dict[str, Any]:
        """Return the offer as plain values."""
        return asdict(self)


def training_offer(
    request: Request, store: CurveStore, workers: int, measure: Callable[[], Pace]
) -> TrainingOffer | None:
    """Return what ten minutes of training would buy; None if they finish no run, or if unknown.

    Args:
        request: The question.
        store: Store of the learning curves.
        workers: Number of training processes.
        measure: Function that measures the pace of training, if stored runs do not tell it.
    """
    prior = request.task_prior
    before = None if prior is None else prior.grids.regret_at(0.0)
    if prior is None or before is None:
        return None
    timed = replace(request, effort=1.0, training_s=OFFER_S)
    costs = price(timed)
    pace = stored_pace(timed, costs, store) or measure()
    try:
        rounds = effort_of_time(timed, costs, store, pace, workers).rounds
    except BudgetError:
        return None
    share = rounds / costs.grid_rounds
    after = prior.grids.regret_at(share) or before
    return TrainingOffer(OFFER_S, rounds, share, *before, *after)
