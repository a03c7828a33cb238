"""JSON forms of configurations, curves and points.

Wherever the commands print a time, their JSON has ``time``: the same median and interval, over the
fleets that the network may draw. ``round_time`` is the same of a mean round, and ``own_fleet_s``
the seconds on one fleet alone, that of the network's seed.
"""

from __future__ import annotations

from typing import Any

from floss_sim.analysis.comparison import Configuration, CurvePoint


def configuration_json(configuration: Configuration) -> dict[str, Any]:
    """Return label, method, settings, seeds and runs of a configuration as plain values."""
    return {
        "label": configuration.label,
        "method": configuration.method,
        "settings": dict(configuration.settings),
        "seeds": [run.seed for run in configuration.runs],
        "runs": [str(run.path) for run in configuration.runs],
    }


def curve_json(configuration: Configuration, target: float | None) -> dict[str, Any]:
    """Return the point where a configuration reaches a target, and its curve, as plain values."""
    reached = None if target is None else configuration.target_point(target)
    return {
        "reached_at": point_json(reached),
        "curve": [point_json(point) for point in configuration.points],
    }


def point_json(point: CurvePoint | None) -> dict[str, Any] | None:
    """Return a point as plain values."""
    if point is None:
        return None
    plain = {k: v for k, v in vars(point).items() if k not in ("closed_at_s", "time")}
    if point.own_accuracy is None:
        del plain["own_accuracy"]
    return {**plain, "time": point.time.to_json(), "own_fleet_s": point.closed_at_s}
