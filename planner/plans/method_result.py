"""Results of a search over methods: the best measured run of each, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from planner.candidates import Candidate
from planner.forecasts.intervals import Interval, difference

Lack = Literal[
    "refused", "round_s", "client_bytes", "epsilon", "budget", "effort", "failed", "unmeasured"
]
REFUSED: Lack = "refused"  # a search cannot take the method (request.left_out_methods says why)
NOT_BEGUN: Lack = "effort"  # the search has begun no run of it
ALL_FAILED: Lack = "failed"  # all runs that were begun diverged, or failed on the workers
UNMEASURED: Lack = "unmeasured"  # the search ended before the first evaluation of any run


@dataclass(frozen=True)
class MethodRun:
    """The best measured run of a method.

    Attributes:
        candidate: The trained candidate.
        rounds: Rounds of training.
        nbytes: Bytes of all transfers in these rounds.
        spent: Share of the budget that they take.
        counts: Whether the plan was chosen among runs with this one; else the effort ended it.
        interval: Interval of the validation accuracy.
    """

    candidate: Candidate
    rounds: int
    nbytes: int
    spent: float
    counts: bool
    interval: Interval

    def to_json(self) -> dict[str, Any]:
        """Return the run as plain values."""
        return {
            **self.candidate.settings(),
            "rounds": self.rounds,
            "bytes": self.nbytes,
            "budget_spent": self.spent,
            "counts": self.counts,
            "interval": self.interval.to_json(),
        }


@dataclass(frozen=True)
class MethodResult:
    """Result of a search for one of its methods.

    Attributes:
        method: Name of the method.
        candidates: Number of its candidates.
        affordable: Number of them that keep to all limits.
        begun: Number of them that the search has trained.
        run: The best measured run; None if there is none.
        lacks: Why there is none.
    """

    method: str
    candidates: int
    affordable: int
    begun: int
    run: MethodRun | None = None
    lacks: Lack | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {
            "method": self.method,
            "candidates": self.candidates,
            "affordable": self.affordable,
            "begun": self.begun,
            "run": self.run and self.run.to_json(),
            "lacks": self.lacks,
        }


@dataclass(frozen=True)
class MethodGap:
    """How far the run of a method is from that of the best one.

    Attributes:
        method: Name of the method.
        low: Lower end of the difference of accuracies to the best method's run, -1 to 1.
        mean: The difference; below 0 the method is worse.
        high: Upper end.
        bytes_ratio: Its run's bytes over those of the best method's run.
        spent_ratio: The same of the shares of the budget.
        ties: Whether the method ties with the best.
    """

    method: str
    low: float
    mean: float
    high: float
    bytes_ratio: float
    spent_ratio: float
    ties: bool

    def to_json(self) -> dict[str, Any]:
        """Return the gap as plain values."""
        return dict(vars(self))


def run_order(run: MethodRun, *, by_cost: bool) -> tuple[Any, ...]:
    """Return the sort key of a run: those that count first, then the best or the cheapest.

    Args:
        run: The run.
        by_cost: Whether the cheapest is first, as all that count have reached a target.
    """
    worth = run.spent if by_cost and run.counts else -run.interval.mean
    return (not run.counts, worth, run.nbytes, run.candidate)


def method_order(result: MethodResult, *, by_cost: bool) -> tuple[Any, ...]:
    """Return the sort key of a result, that of its run; results without a run come last."""
    return (2,) if result.run is None else run_order(result.run, by_cost=by_cost)[:3]


def method_gaps(results: Sequence[MethodResult], margin: float) -> list[MethodGap]:
    """Return how far the methods with a run that counts are from the first one, in their order.

    A run that the effort ended says little of its method: it is compared with none.

    Args:
        results: The results in the order of :func:`method_order`.
        margin: Largest difference of accuracies at which a run ties with a better one.
    """
    counted = [(one.method, one.run) for one in results if one.run and one.run.counts]
    if not counted:
        return []
    (_, best), *others = counted
    gaps = []
    for name, run in others:
        low, mean, high = difference(run.interval, best.interval)
        ratios = run.nbytes / best.nbytes, run.spent / best.spent
        gaps.append(MethodGap(name, low, mean, high, *ratios, ties=mean >= -margin))
    return gaps
