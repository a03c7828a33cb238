"""Options of differential privacy, which combine with those of every method.

Like those of the methods they are declared once, here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from floss_sim.errors import ConfigError
from floss_sim.methods.differential_privacy import DEFAULT_DELTA, TRUSTS, DifferentialPrivacy
from floss_sim.methods.method import Method
from floss_sim.methods.method_options import MethodOption

PRIVACY_OPTIONS: Mapping[str, MethodOption] = {
    option.name: option
    for option in (
        MethodOption(
            "dp_clip",
            "number",
            "Differential privacy: clip updates, with their heads, to this L2 norm.",
        ),
        MethodOption(
            "dp_noise", "number", "Noise multiplier: standard deviation of the noise, in clips."
        ),
        MethodOption(
            "dp_epsilon", "number", "In place of --dp-noise: the epsilon to reach after all rounds."
        ),
        MethodOption("dp_delta", "number", f"Delta of epsilon; default {DEFAULT_DELTA:g}."),
        MethodOption(
            "dp_trust",
            "text",
            "Who adds the noise: sum (default): the clients, to a sum that is all the server "
            "sees; server: the server, which is trusted; local: each client, to its own upload.",
        ),
    )
}


def with_privacy(method: Method, given: Mapping[str, Any]) -> Method:
    """Return a method with the clipping and noise of its options; the same without them.

    Where an epsilon is given, updates are clipped, and the noise is still 0.

    Args:
        method: The method.
        given: Values of ``PRIVACY_OPTIONS`` by name.

    Raises:
        ConfigError: The options contradict each other, a value is out of range, or the method has
            no differential privacy.
    """
    privacy = privacy_of_options(given)
    return replace(method, privacy=privacy) if privacy else method


def privacy_of_options(given: Mapping[str, Any]) -> DifferentialPrivacy | None:
    """Return the clipping and noise of options; None without them.

    Where an epsilon is given, the noise is still 0.

    Args:
        given: Values of ``PRIVACY_OPTIONS`` by name.

    Raises:
        ConfigError: The options contradict each other, or a value is out of range.
    """
    if "dp_clip" not in given:
        if others := [name for name in PRIVACY_OPTIONS if name in given]:
            flag = PRIVACY_OPTIONS[others[0]].flag
            raise ConfigError(f"{flag} needs --dp-clip, the largest norm of an update")
        return None
    if ("dp_noise" in given) == ("dp_epsilon" in given):
        raise ConfigError("--dp-clip needs one of --dp-noise (0: clipping alone) and --dp-epsilon")
    values = {n.removeprefix("dp_"): value for n, value in given.items() if n != "dp_epsilon"}
    if values.get("trust", TRUSTS[0]) not in TRUSTS:
        raise ConfigError(f"--dp-trust {values['trust']!r} is unknown; valid: {', '.join(TRUSTS)}")
    return DifferentialPrivacy(**{"noise": 0.0, **values})
