"""Table cells of the points at which configurations reach a target accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from floss_sim.analysis.comparison import CurvePoint
from floss_sim.analysis.time_spread import spread_texts
from floss_sim.units import format_bytes


def target_cells(points: Sequence[CurvePoint | None]) -> list[list[str]]:
    """Return round, bytes and time of each point; None is a target that is not reached."""
    times = spread_texts(point.time if point else None for point in points)
    return [
        [str(point.round), format_bytes(point.total_bytes), time]
        if point
        else ["not reached", "-", time]
        for point, time in zip(points, times, strict=True)
    ]
