"""Simulated time of a run on each fleet that a network may draw, as a section of ``plan.json``."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

from pydantic import Field, model_validator

from floss_sim.analysis.time_spread import Method, TimeSpread
from floss_sim.documents import Section
from planner.question.field_types import Amount, PositiveInt

_SAME = 1e-9  # relative difference of equal figures
_MOST_FLEETS = 1_000


class TimeSection(Section):
    """Simulated time of a run on fleets drawn from a network by consecutive seeds.

    Attributes:
        median_s: Median over the fleets, in seconds.
        low_s: Quantile of 5 % of the fleets, in seconds.
        high_s: Quantile of 95 % of the fleets, in seconds.
        mean_s: Mean over the fleets, in seconds; None in older plans.
        draws: Number of fleets; 1 if the network draws nothing.
        method: How the seconds were found: ``"closed form"``, ``"simulated"`` or ``"probed"``.
        seconds: Seconds by fleet, that of the network's own seed first. Runs of a plan have the
            same fleets at the same places.
    """

    median_s: Amount
    low_s: Amount
    high_s: Amount
    mean_s: Amount | None = None
    draws: PositiveInt
    method: Method
    seconds: tuple[Amount, ...] = Field(min_length=1, max_length=_MOST_FLEETS)

    @model_validator(mode="after")
    def _check_quantiles(self) -> TimeSection:
        made = self.spread.to_json() | {"mean_s": fmean(self.seconds)}
        for name in ("median_s", "low_s", "high_s", "mean_s", "draws"):
            given = getattr(self, name)
            if given is not None and not math.isclose(
                given, made[name], rel_tol=_SAME, abs_tol=1e-12
            ):
                raise ValueError(f"{name}: {given:g} differs from {made[name]:g} by the seconds")
        return self

    @classmethod
    def of(cls, spread: TimeSpread) -> TimeSection:
        """Return the section that describes a spread."""
        return cls(**spread.to_json(), mean_s=fmean(spread.seconds), seconds=spread.seconds)

    @property
    def spread(self) -> TimeSpread:
        """The spread that this section describes."""
        return TimeSpread(self.seconds, self.method)

    def to_json(self) -> dict[str, Any]:
        """Return the times as plain values."""
        return self.model_dump(mode="json")
