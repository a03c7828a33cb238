"""Privacy of a run's config: what its rounds will reach, and the noise that an epsilon takes."""

from __future__ import annotations

from dataclasses import replace

from floss_sim.analysis.run_privacy import (
    RunPrivacy,
    check_planned,
    planned_privacy,
    with_epsilon,
)
from floss_sim.errors import ConfigError
from floss_sim.network import NetworkProfile
from floss_sim.runs.conditions import conditions
from floss_sim.runs.config import RunConfig
from floss_sim.simulator import RoundPolicy


def privacy_of_config(config: RunConfig, rounds: int) -> RunPrivacy | None:
    """Return the privacy of a run whose rounds all wait for their clients; None without it."""
    if (settings := config.method.privacy) is None:
        return None
    return planned_privacy(
        settings, clients=config.fleet.clients, cohort=config.server.cohort, seed=config.seed,
        rounds=rounds,
    )  # fmt: skip


def with_privacy_of_run(
    config: RunConfig,
    epsilon: float | None,
    rounds: int,
    profile: NetworkProfile,
    policy: RoundPolicy,
) -> RunConfig:
    """Return a run with the noise of its epsilon, after checking that its epsilon can be stated.

    Args:
        config: The run.
        epsilon: The value of ``--dp-epsilon``, or None.
        rounds: Rounds to train.
        profile: The network.
        policy: The rule that closes rounds.

    Raises:
        ConfigError: No noise reaches the epsilon, rounds do not wait for all clients, or the
            library is not installed.
    """
    planned = privacy_of_config(config, rounds)
    if planned is None:
        return config
    if epsilon is not None:
        if conditions(profile, policy):
            raise ConfigError(
                "--dp-epsilon needs rounds that wait for all clients, on a network that loses "
                "none, so that it is known who takes part; give --dp-noise"
            )
        planned = with_epsilon(planned, epsilon)
    check_planned(planned)
    return replace(config, method=replace(config.method, privacy=planned.settings)).checked()
