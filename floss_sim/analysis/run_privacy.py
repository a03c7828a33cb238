"""Privacy of a run: epsilon of its rounds, and its plan before training.

A planned run has the cohorts that it will draw, and all their clients report. A round counts with
the updates that arrive: with trust ``sum`` the noise of missing clients is missing, too, and k of K
reports have the multiplier s sqrt(k / K). Sampling helps only where every client is equally likely
to take part, so not where time or losses choose the clients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from floss_sim.analysis.privacy_accountant import (
    composed_epsilon,
    noise_for,
    sampled_epsilon,
)
from floss_sim.errors import ConfigError
from floss_sim.methods import DifferentialPrivacy
from floss_sim.protocol.sampling import draw_cohort


@dataclass(frozen=True)
class RunPrivacy:
    """Privacy of one client's data after a number of rounds.

    Attributes:
        settings: Clipping and noise.
        clients: Clients of the fleet.
        cohort: Clients of a cohort.
        sampled: Whether every client was equally likely to take part in each round.
        reports: Updates in each round's sum.
        rounds_of: Rounds whose servers saw an update of a client, from 0, by client.
        sums_only: Whether the server sees sums alone where the trust needs it; an app's does not.

    Example:
        >>> from floss_sim.methods import DifferentialPrivacy
        >>> settings = DifferentialPrivacy(clip=1.0, noise=4.0)
        >>> RunPrivacy(settings, 50, 10, True, [10] * 60, {}).multipliers[:2]
        [4.0, 4.0]
    """

    settings: DifferentialPrivacy
    clients: int
    cohort: int
    sampled: bool
    reports: Sequence[int]
    rounds_of: Mapping[int, Sequence[int]]
    sums_only: bool = True

    @property
    def multipliers(self) -> list[float]:
        """The noise multiplier of each round, by the noise that its updates brought."""
        noise = self.settings.noise
        if self.settings.trust != "sum":
            return [noise] * len(self.reports)
        return [noise * math.sqrt(count / self.cohort) for count in self.reports]

    @cached_property
    def epsilon(self) -> float:
        """Epsilon for those from whom the trust protects; infinite without noise.

        With trust ``local`` that is the server. Otherwise it is everybody who sees the versions
        and does not know the cohorts.

        Raises:
            ConfigError: The library is not installed.
        """
        if not self.settings.noise:
            return math.inf
        if self.settings.trust == "local" or not self.sampled:
            return self.epsilon_of_known
        made, delta = self.multipliers, self.settings.delta
        return sampled_epsilon(made[0], self.cohort / self.clients, len(made), delta)

    @cached_property
    def epsilon_of_known(self) -> float:
        """Epsilon for someone who also knows the cohorts: that of the client that tells most."""
        if not self.settings.noise:
            return math.inf
        made, delta = self.multipliers, self.settings.delta
        return max(
            (composed_epsilon([made[n] for n in rounds], delta) for rounds in self._histories()),
            default=0.0,
        )

    def _histories(self) -> set[tuple[int, ...]]:
        """Return the rounds of the clients without repetition; only the longest, if all count."""
        histories = {tuple(rounds) for rounds in self.rounds_of.values() if rounds}
        if len(set(self.multipliers)) > 1 or not histories:
            return histories
        return {max(histories, key=len)}

    @property
    def busiest(self) -> int:
        """The most rounds in which one client took part."""
        return max(map(len, self.rounds_of.values()), default=0)

    def to_json(self) -> dict[str, Any]:
        """Return the settings and what they reach; an infinite epsilon is null."""
        known, reached = self.epsilon_of_known, self.epsilon
        return {
            **self.settings.settings(),
            "rounds": len(self.reports),
            "epsilon": reached if math.isfinite(reached) else None,
            "epsilon_of_known_cohorts": known if math.isfinite(known) else None,
            "sampled": self.sampled,
            "most_rounds_of_a_client": self.busiest,
        }

    @property
    def text(self) -> str:
        """What the rounds reach, as a sentence."""
        settings, rounds = self.settings, len(self.reports)
        if not settings.noise:
            return f"none: updates are clipped to {settings.clip:g}, without noise"
        reached = f"epsilon {self.epsilon:.3g} at delta {settings.delta:g} after {rounds} rounds"
        busiest = f"the busiest client took part in {self.busiest}"
        if settings.trust == "local":
            return f"{reached}, against the server itself ({busiest} of them)"
        by_sums = settings.trust == "sum" and self.sums_only
        trusted = "the server sees sums only" if by_sums else "the server is trusted"
        if not self.sampled:
            return f"{reached}, against all who see versions ({busiest}; {trusted})"
        known = f"{self.epsilon_of_known:.3g} if they know the cohorts"
        return (
            f"{reached}, against those who see versions but not cohorts; {known} "
            f"({busiest}; {trusted})"
        )


def planned_privacy(
    settings: DifferentialPrivacy, *, clients: int, cohort: int, seed: int, rounds: int
) -> RunPrivacy:
    """Return the privacy of a run whose rounds all wait for their clients.

    Args:
        settings: Clipping and noise.
        clients: Clients of the fleet.
        cohort: Clients of a cohort.
        seed: Seed of the cohorts.
        rounds: Rounds to train.
    """
    rounds_of: dict[int, list[int]] = {}
    for number in range(rounds):
        for client in draw_cohort(seed, number + 1, clients, cohort).clients:
            rounds_of.setdefault(client, []).append(number)
    return RunPrivacy(settings, clients, cohort, True, [cohort] * rounds, rounds_of)


def with_epsilon(planned: RunPrivacy, epsilon: float) -> RunPrivacy:
    """Return a planned run with the least noise for an epsilon after all its rounds.

    Args:
        planned: The run, whatever its noise.
        epsilon: The largest epsilon.

    Raises:
        ConfigError: No noise reaches the epsilon, or the library is not installed.
    """

    def with_noise(noise: float) -> RunPrivacy:
        return replace(planned, settings=replace(planned.settings, noise=noise))

    return with_noise(noise_for(epsilon, lambda noise: with_noise(noise).epsilon))


def check_planned(planned: RunPrivacy) -> None:
    """Check before training that the noise of a run has a finite epsilon that can be stated.

    Raises:
        ConfigError: It has none, or the library is not installed.
    """
    noise = planned.settings.noise
    if noise and not math.isfinite(planned.epsilon):
        raise ConfigError(
            f"noise multiplier {noise:g} has no finite epsilon after {len(planned.reports)} "
            "rounds; raise it"
        )
