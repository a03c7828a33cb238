"""Options of differential privacy in a plan: those of ``floss-sim run``, but for the epsilon."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from floss_sim.cli.method_options import takes_options_of
from floss_sim.errors import ConfigError
from floss_sim.methods.privacy_options import PRIVACY_OPTIONS, privacy_of_options
from planner.question.privacy import Privacy

_EPSILON = (
    "Epsilon at which runs end. Without --dp-noise: the least noise for which --max-rounds rounds "
    "keep to it."
)
_OPTIONS = {**PRIVACY_OPTIONS, "dp_epsilon": replace(PRIVACY_OPTIONS["dp_epsilon"], help=_EPSILON)}


def takes_privacy_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that has the options in the place of ``privacy_options``."""
    return takes_options_of(command, {"privacy_options": _OPTIONS})


def parse_privacy(given: Mapping[str, Any]) -> Privacy | None:
    """Return the privacy of a plan's runs; None if none is asked.

    Args:
        given: Values of the options by name.

    Raises:
        ConfigError: The options contradict each other, or a value is out of range.
    """
    epsilon, has_noise = given.get("dp_epsilon"), "dp_noise" in given
    alone = {n: value for n, value in given.items() if not (has_noise and n == "dp_epsilon")}
    settings = privacy_of_options(alone)
    if settings is None:
        return None
    if has_noise and epsilon is not None and not settings.noise:
        raise ConfigError("--dp-epsilon needs noise: with --dp-noise 0 it is infinite")
    return Privacy(settings, math.inf if epsilon is None else epsilon)
