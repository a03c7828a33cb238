"""Epsilon that the rounds of a run spend, as a section of ``plan.json``."""

from __future__ import annotations

from typing import Any, Self

from floss_sim.analysis.run_privacy import RunPrivacy
from floss_sim.documents import Section
from planner.question.field_types import Accuracy, Amount


class SpentPrivacy(Section):
    """Differential privacy of one client's data after a run.

    Attributes:
        epsilon: Epsilon for those from whom the trust protects, who do not know the cohorts; None
            without noise.
        epsilon_of_known_cohorts: Epsilon for someone who also knows the cohorts.
        delta: The delta of both.
    """

    epsilon: Amount | None
    epsilon_of_known_cohorts: Amount | None
    delta: Accuracy

    @classmethod
    def of(cls, made: RunPrivacy) -> Self:
        """Return the section of a run's privacy.

        Raises:
            ConfigError: The library of epsilon is not installed.
        """
        told = made.to_json()
        return cls(
            epsilon=told["epsilon"],
            epsilon_of_known_cohorts=told["epsilon_of_known_cohorts"],
            delta=told["delta"],
        )

    @property
    def text(self) -> str:
        """The epsilon in words, such as ``epsilon 7.9 at delta 1e-05``."""
        if self.epsilon is None:
            return "no epsilon: clipped without noise"
        return f"epsilon {self.epsilon:.3g} at delta {self.delta:g}"

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return self.model_dump(mode="json")
