"""Differential privacy of a search: one clip and one noise for all its runs, and their epsilon.

The epsilon is that of one run on the data of its clients. It says nothing of other runs on the same
data, such as those of a search.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import Any, Self

from floss_sim.analysis.run_privacy import (
    RunPrivacy,
    check_planned,
    planned_privacy,
    with_epsilon,
)
from floss_sim.errors import ConfigError
from floss_sim.methods import DifferentialPrivacy, Method
from floss_sim.runs.config import RunConfig


@dataclass(frozen=True)
class Cohorts:
    """Cohorts of a run, which its epsilon depends on besides noise and rounds.

    Attributes:
        clients: Clients of the fleet.
        size: Clients of a round.
        seed: Seed of the run, by which they are drawn.
    """

    clients: int
    size: int
    seed: int


@dataclass(frozen=True)
class Privacy:
    """Differential privacy of every run of a search.

    Attributes:
        settings: Clipping and noise; a noise of 0 beside a ``max_epsilon`` is one to be chosen.
        max_epsilon: Epsilon at which runs end; infinity: at none.

    Example:
        >>> from floss_sim.methods import DifferentialPrivacy
        >>> from planner.question.privacy import Privacy
        >>> Privacy(DifferentialPrivacy(clip=1.0, noise=2.0), max_epsilon=8.0).has_limit
        True
    """

    settings: DifferentialPrivacy
    max_epsilon: float = math.inf

    @property
    def has_limit(self) -> bool:
        """Whether runs end at an epsilon."""
        return math.isfinite(self.max_epsilon)

    def spent(self, cohorts: Cohorts, rounds: int) -> RunPrivacy:
        """Return the privacy of a run after some rounds."""
        return planned_privacy(
            self.settings, clients=cohorts.clients, cohort=cohorts.size, seed=cohorts.seed,
            rounds=rounds,
        )  # fmt: skip

    def most_rounds(self, cohorts: Cohorts, cap: int) -> int:
        """Return the most rounds within the epsilon, up to a cap.

        Raises:
            ConfigError: The library of epsilon is not installed.
        """
        if not self.has_limit:
            return cap
        whole = self.spent(cohorts, cap)

        def epsilon(rounds: int) -> float:
            own = {c: [n for n in numbers if n < rounds] for c, numbers in whole.rounds_of.items()}
            return replace(whole, reports=whole.reports[:rounds], rounds_of=own).epsilon

        return bisect_right(range(1, cap + 1), self.max_epsilon, key=epsilon)

    def with_least_noise(self, cohorts: Cohorts, rounds: int) -> Self:
        """Return the privacy with the least noise for which some rounds keep to the epsilon.

        Raises:
            ConfigError: No noise does, or the library of epsilon is not installed.
        """
        enough = with_epsilon(self.spent(cohorts, rounds), self.max_epsilon)
        return replace(self, settings=enough.settings)

    def check(self, cohorts: Cohorts, cap: int) -> None:
        """Check that runs up to a cap on rounds have an epsilon.

        Raises:
            ConfigError: The epsilon is not above 0, or infinite, or the library of epsilon is not
                installed.
        """
        if not self.max_epsilon > 0:
            raise ConfigError(f"epsilon {self.max_epsilon:g}; valid: numbers above 0")
        if not self.settings.noise and self.has_limit:
            raise ConfigError(
                f"epsilon {self.max_epsilon:g} needs noise: with noise multiplier 0 it is infinite"
            )
        if not self.has_limit:
            check_planned(self.spent(cohorts, cap))

    def reason_against(self, method: Method) -> str:
        """Return why clip and noise give no guarantee for a method; empty if they do."""
        try:
            replace(method, privacy=self.settings)
        except ConfigError as error:
            return str(error)
        return ""

    def applied(self, config: RunConfig) -> RunConfig:
        """Return a run with this clip and noise.

        Raises:
            ConfigError: They give no guarantee for the run's method, weights or fleet.
        """
        return replace(config, method=replace(config.method, privacy=self.settings)).checked()

    def to_json(self) -> dict[str, Any]:
        """Return the privacy as plain values."""
        limit = {"max_epsilon": self.max_epsilon} if self.has_limit else {}
        return {**self.settings.settings(), **limit}

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> Self:
        """Return the privacy of plain values.

        Raises:
            ConfigError: A value is out of range.
        """
        given = {name: value for name, value in values.items() if value is not None}
        limit = given.pop("max_epsilon", math.inf)
        return cls(DifferentialPrivacy(**{"clip": math.inf, **given}), limit)
