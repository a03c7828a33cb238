"""Stored run: one of another search of the same question, better than the recommended run."""

from __future__ import annotations

from typing import Any

from floss_sim.documents import Section
from planner.plans.explanation import Range
from planner.question.field_types import Accuracy, Configuration, Positive, PositiveInt


class StoredRun(Section):
    """A run that the store holds, clearly better than the recommended run of a plan.

    Attributes:
        candidate: The trained candidate.
        rounds: Rounds of training, within the plan's cap.
        accuracy: Expected validation accuracy, 0 to 1, given all stored curves.
        interval: Interval of the accuracy.
        total_bytes: Bytes of all transfers in these rounds.
        budget_spent: Share of the plan's budget that the run takes; above 1 it is more than that.
    """

    candidate: Configuration
    rounds: PositiveInt
    accuracy: Accuracy
    interval: Range
    total_bytes: PositiveInt
    budget_spent: Positive

    def to_json(self) -> dict[str, Any]:
        """Return the run as plain values."""
        return self.model_dump(mode="json")
