"""Floor of a round on a deployment framework, in words."""

from __future__ import annotations

from floss_sim.units import format_duration


def framework_text(share: float, round_s: float, network: str) -> str:
    """Return the sentence on the part of a round that a framework's polls and starts take.

    Args:
        share: Share of the round, 0 to 1.
        round_s: Seconds of a round.
        network: Name of the network; a framework that was added to it stands in its end.

    Example:
        >>> from floss_sim.analysis.framework_floor import framework_text
        >>> print(framework_text(0.9, 20.0, "lte, framework flower-1.42"))
        Of a round of 20 s, 18 s (90 %) are the floor of flower-1.42: its polls and process starts.
    """
    name = network.rpartition(", framework ")[2] if ", framework " in network else "the framework"
    floor = format_duration(share * round_s)
    return (
        f"Of a round of {format_duration(round_s)}, {floor} ({100 * share:.0f} %) are the floor of "
        f"{name}: its polls and process starts."
    )
