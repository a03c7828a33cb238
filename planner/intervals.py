"""Intervals of the accuracy that runs truly have, measured or forecast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

from planner.forecast import expit, log_odds
from planner.search import Curve
from planner.space import Candidate

LEVEL = 0.9


@dataclass(frozen=True)
class Interval:
    """Where an accuracy lies, 0 to 1.

    Attributes:
        low: Its lower end.
        mean: What is expected.
        high: Its upper end.
        kind: ``"measured"`` if the run reached the round that was asked for, else ``"forecast"``.
    """

    low: float
    mean: float
    high: float
    kind: Literal["measured", "forecast"]

    def to_json(self, level: float) -> dict[str, Any]:
        """Return the interval as plain values."""
        ends = {"low": self.low, "mean": self.mean, "high": self.high}
        return {**ends, "level": level, "kind": self.kind}


def intervals(
    history: Mapping[Candidate, Curve],
    asked: Mapping[Candidate, int],
    examples: int,
    longest: int,
    level: float = LEVEL,
) -> dict[Candidate, Interval]:
    """Return the interval of each candidate's accuracy at the round that is asked for.

    Args:
        history: What is known; diverged and empty curves are left out.
        asked: A round for each candidate, whether it has a curve or not.
        examples: Validation examples behind every accuracy.
        longest: The most rounds of any candidate.
        level: How often the interval is to hold the accuracy.
    """
    wide = NormalDist().inv_cdf((1 + level) / 2)
    made = {}
    for c, (mean, sd) in log_odds(history, asked, examples, longest).items():
        low, middle, high = (expit(mean + k * sd) for k in (-wide, 0, wide))
        reached = c in history and history[c].rounds >= asked[c] and not history[c].failed
        made[c] = Interval(low, middle, high, "measured" if reached else "forecast")
    return made
