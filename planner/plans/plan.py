"""The plan: the recommendation, its runners-up and baselines, and how they were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.plans.answer import Answer
from planner.plans.explanation import Explanation
from planner.plans.outcome import Outcome
from planner.question.budget import Limit
from planner.question.objective import FrontPoint

PLAN_VERSION = 2  # of plan.json, which planner.plans.plan_file reads


@dataclass(frozen=True)
class Plan:
    """The answer, with all that it rests on.

    Attributes:
        request: What was asked, as plain values.
        limit: The budget on the plan's network.
        recommendation: Preferred among the finished runs within ``margin`` of the best.
        runners_up: The other finished runs, best expected accuracy first.
        best_accuracy: The best expected accuracy of a finished run.
        margin: Expected accuracies within this of the best are called ties.
        baselines: Runs that were really run at the same budget; None if it affords no round.
        effort: The search's name, rounds asked for and rounds really trained.
        costs: Of each affordable candidate, predicted without training: bytes of a download and
            an upload, seconds of a round, rounds that the budget affords; where it was trained,
            real over predicted bytes of its first rounds, the rounds that these promise, and, where
            it finished, how far the others were from them.
        explanation: What binds, what is near, what more budget or search would buy.
        also: Other budgets and networks, answered from stored curves.
        interrupted: Whether the search was stopped before its end.
        reached: Whether a run reached the target; None where none was asked for.
        front: Accuracy against cost, cheapest first, where it was asked for.
    """

    request: Mapping[str, Any]
    limit: Limit
    recommendation: Outcome
    runners_up: tuple[Outcome, ...]
    best_accuracy: float
    margin: float
    baselines: Mapping[str, Outcome | None]
    effort: Mapping[str, Any]
    costs: tuple[Mapping[str, Any], ...] = ()
    explanation: Explanation | None = None
    also: tuple[Answer, ...] = ()
    interrupted: bool = False
    reached: bool | None = None
    front: tuple[FrontPoint, ...] = ()

    @property
    def target(self) -> float | None:
        """The accuracy that was sought at least cost, if one was."""
        objective = self.request.get("objective") or {}
        target: float | None = objective.get("target")
        return target

    def ties(self, outcome: Outcome) -> bool:
        """Return whether an outcome is within noise of the best."""
        return outcome.expected_accuracy >= self.best_accuracy - self.margin

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""

        def one(outcome: Outcome) -> dict[str, Any]:
            return {**outcome.to_json(), "tie": self.ties(outcome)}

        budget = self.limit.budget
        unit = "s" if budget.kind in ("dense-rounds", "seconds") else "bytes"
        return {
            "plan_version": PLAN_VERSION,
            "request": dict(self.request),
            "budget": {
                "text": budget.text,
                "kind": budget.kind,
                "amount": self.limit.amount,
                "unit": unit,
                **({"confidence": budget.confidence} if budget.confidence else {}),
            },
            "interrupted": self.interrupted,
            "recommendation": one(self.recommendation),
            "best_accuracy": self.best_accuracy,
            "tie_margin": self.margin,
            "runners_up": [one(outcome) for outcome in self.runners_up],
            "baselines": {
                name: outcome and one(outcome) for name, outcome in self.baselines.items()
            },
            "effort": dict(self.effort),
            "costs": [dict(cost) for cost in self.costs],
            "explanation": self.explanation and self.explanation.model_dump(mode="json"),
            "also": [answer.to_json() for answer in self.also],
            "reached": self.reached,
            "front": [point.to_json(self.limit.amount, unit) for point in self.front],
        }
