"""The space that is searched: ranks and pairs of densities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from floss_sim.config import RunConfig
from floss_sim.methods import floss
from floss_sim.sparsity import format_density
from floss_sim.tasks import Task


@dataclass(frozen=True, order=True)
class Candidate:
    """One configuration: a rank, a download density and an upload density."""

    rank: int
    down_density: float
    up_density: float

    def __str__(self) -> str:
        """Return, say, ``rank 16, down 1/4, up 1/16``."""
        down, up = format_density(self.down_density), format_density(self.up_density)
        return f"rank {self.rank}, down {down}, up {up}"

    def config(self, task: Task, seed: int) -> RunConfig:
        """Return the FLoSS run of this configuration with the task's settings.

        Raises:
            LayoutError: The rank does not fit the task's backbone.
            DensityError: A density outside (0, 1].
        """
        method = floss(self.down_density, self.up_density)
        return RunConfig.of(task, method, rank=self.rank, seed=seed)

    def settings(self) -> dict[str, Any]:
        """Return the configuration as plain values."""
        return {
            "rank": self.rank,
            "down_density": self.down_density,
            "up_density": self.up_density,
        }


def grid(
    ranks: Sequence[int], down_densities: Sequence[float], up_densities: Sequence[float]
) -> list[Candidate]:
    """Return every combination once, in sorted order."""
    return sorted({Candidate(*values) for values in product(ranks, down_densities, up_densities)})
