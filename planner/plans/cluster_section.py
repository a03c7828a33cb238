"""What a plan says of the cluster that trained it: runs that failed, and mixed machine types."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from floss_sim.documents import OneFullLine, Section
from planner.question.field_types import Configuration, Count


class FailedRun(Section):
    """A run that failed in all its calls, although it did not diverge.

    Attributes:
        candidate: The candidate.
        seed: Seed of the run.
        reason: Why its last call failed.
    """

    candidate: Configuration
    seed: Count
    reason: Annotated[OneFullLine, Field(max_length=2000)]

    def to_json(self) -> dict[str, Any]:
        """Return the run as plain values."""
        return {"candidate": self.candidate.settings(), "seed": self.seed, "reason": self.reason}


class ClusterSection(Section):
    """What a cluster did to a plan; there is none where it changed nothing.

    Attributes:
        failed: Runs that failed.
        mixed_runs: Number of runs with parts of machines of several types.
        machines: These types.
    """

    failed: tuple[FailedRun, ...] = ()
    mixed_runs: Count = 0
    machines: tuple[OneFullLine, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> ClusterSection:
        if not self.failed and not self.mixed_runs:
            raise ValueError("it says nothing")
        if bool(self.mixed_runs) != (len(set(self.machines)) > 1):
            raise ValueError("mixed runs have machines of at least two types")
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the section as plain values."""
        told = self.model_dump(mode="json", exclude={"failed"})
        return {**told, "failed": [run.to_json() for run in self.failed]}
