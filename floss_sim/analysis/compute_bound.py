"""Rounds whose time is compute: where compression of messages saves no time."""

from __future__ import annotations

from collections.abc import Mapping

from floss_sim.units import format_duration

BINDS_BY = 10.0  # compute over traffic, from which on compression is said to save no time
_TRAFFIC = ("download", "upload", "queueing")


def compute_bound_text(shares: Mapping[str, float], round_s: float) -> str:
    """Return a sentence if compute takes ten times as long as traffic, or more; else none ("").

    Args:
        shares: Shares of the parts of a round, by name (``round_parts.ROUND_PARTS``), 0 to 1.
        round_s: Seconds of a round.

    Example:
        >>> from floss_sim.analysis.compute_bound import compute_bound_text
        >>> compute_bound_text({"compute": 0.5, "upload": 0.5}, 60.0)
        ''
    """
    traffic, compute = sum(shares.get(name, 0.0) for name in _TRAFFIC), shares["compute"]
    is_most = compute >= shares.get("latency", 0.0)
    if not compute or not is_most or compute < BINDS_BY * traffic:
        return ""
    ratio = compute / traffic if traffic > 0 else 0.0
    digits = f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"
    times = f", {digits} times as long as traffic" if ratio else ""
    return (
        f"Compute takes {format_duration(compute * round_s)} of a round of "
        f"{format_duration(round_s)}{times}: compression saves no time here; fewer layers, shorter "
        "texts or fewer local steps do."
    )
