"""Options of differential privacy, which combine with the options of every method."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from floss_sim.analysis.run_privacy import check_planned, privacy_of_config, with_epsilon
from floss_sim.errors import ConfigError
from floss_sim.methods.differential_privacy import DEFAULT_DELTA
from floss_sim.network import NetworkProfile
from floss_sim.runs.conditions import conditions
from floss_sim.runs.config import RunConfig
from floss_sim.simulator import RoundPolicy

DpClipOption = Annotated[
    float | None,
    typer.Option(help="Differential privacy: clip updates, with their heads, to this L2 norm."),
]
DpNoiseOption = Annotated[
    float | None,
    typer.Option(help="Noise multiplier: standard deviation of the noise, in clips."),
]
DpEpsilonOption = Annotated[
    float | None,
    typer.Option(help="In place of --dp-noise: the epsilon to reach after all rounds."),
]
DpDeltaOption = Annotated[
    float | None, typer.Option(help=f"Delta of epsilon; default {DEFAULT_DELTA:g}.")
]
DpTrustOption = Annotated[
    str | None,
    typer.Option(
        help="Who adds the noise: sum (default): the clients, to a sum that is all the server "
        "sees; server: the server, which is trusted; local: each client, to its own upload."
    ),
]


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
