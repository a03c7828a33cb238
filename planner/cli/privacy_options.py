"""Options of differential privacy in a plan; four of them are those of ``floss-sim run``."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from floss_sim.analysis.run_privacy import read_privacy
from floss_sim.cli.privacy_options import (
    DpClipOption as DpClipOption,
)
from floss_sim.cli.privacy_options import (
    DpDeltaOption as DpDeltaOption,
)
from floss_sim.cli.privacy_options import (
    DpNoiseOption as DpNoiseOption,
)
from floss_sim.cli.privacy_options import (
    DpTrustOption as DpTrustOption,
)
from floss_sim.errors import ConfigError
from planner.question.privacy import Privacy

DpEpsilonOption = Annotated[
    float | None,
    typer.Option(
        help="Epsilon at which runs end. Without --dp-noise, the least noise is taken for which "
        "--max-rounds rounds keep to it."
    ),
]


def parse_privacy(
    clip: float | None,
    noise: float | None,
    epsilon: float | None,
    delta: float | None,
    trust: str | None,
) -> Privacy | None:
    """Return the privacy of a plan's runs; None if none is asked.

    Args:
        clip: Value of ``--dp-clip``.
        noise: Value of ``--dp-noise``.
        epsilon: Value of ``--dp-epsilon``.
        delta: Value of ``--dp-delta``.
        trust: Value of ``--dp-trust``.

    Raises:
        ConfigError: The options contradict each other, or a value is out of range.
    """
    settings = read_privacy(clip, noise, epsilon if noise is None else None, delta, trust)
    if settings is None:
        return None
    if noise == 0 and epsilon is not None:
        raise ConfigError("--dp-epsilon needs noise: with --dp-noise 0 it is infinite")
    return Privacy(settings, math.inf if epsilon is None else epsilon)
