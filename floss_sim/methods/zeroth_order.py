"""Zeroth-order training along seeded directions (FedKSeed, Qin et al., ICML 2024).

The vector that travels has K entries, the sums of scalars along K directions z_k of the whole
model. Both ends draw z_k from the run's seed, so a model is its pretrained weights plus
a_1 z_1 + ... + a_K z_K. A client changes the sum of one direction in each local step: its upload
has the directions of its steps alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from floss_sim.errors import ConfigError
from floss_sim.rng import LazyStream
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Mask, Vector, top_k_mask

MOST_SEEDS = 2**20


@dataclass(frozen=True)
class ZerothOrder:
    """Local training without gradients.

    Attributes:
        seeds: Number of directions, K.
        steps: Local steps of a client, each along another direction, at most K.
        epsilon: Distance from the weights at which a step measures the loss, in directions.
        rate: Learning rate along a direction; 0: the client's learning rate.

    Raises:
        ConfigError: A number is out of range.
    """

    seeds: int = 4096
    steps: int = 200
    epsilon: float = 5e-4
    rate: float = 0.0

    def __post_init__(self) -> None:
        if type(self.seeds) is not int or not 1 <= self.seeds <= MOST_SEEDS:
            raise ConfigError(f"seeds {self.seeds!r}; valid: whole numbers from 1 to {MOST_SEEDS}")
        if type(self.steps) is not int or not 1 <= self.steps <= self.seeds:
            raise ConfigError(f"steps {self.steps!r}; valid: 1 to the {self.seeds} seeds")
        if not 0 < self.epsilon < float("inf"):
            raise ConfigError(f"epsilon {self.epsilon!r}; valid: numbers above 0")
        if not 0 <= self.rate < float("inf"):
            raise ConfigError(
                f"rate {self.rate!r}; valid: numbers above 0, or 0 for the client's learning rate"
            )

    def learning_rate(self, of_client: float) -> float:
        """Return the learning rate of a step, given the client's learning rate."""
        return self.rate or of_client

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain values; without the rate if it is the client's."""
        return {name: value for name, value in asdict(self).items() if name != "rate" or value}

    def describe(self) -> str:
        """Return a short description, such as ``200 steps along 4096 seeds``."""
        rate = f" at rate {self.rate:g}" if self.rate else ""
        return f"{self.steps} steps along {self.seeds} seeds{rate}"


@dataclass(frozen=True)
class SteppedSeeds:
    """Selector of the directions of a client's steps: the entries of its update that are not zero.

    With error feedback there may be more; then those of largest magnitude are selected.

    Args:
        steps: Number of directions.
    """

    steps: int
    shared: ClassVar[bool] = False
    density: ClassVar[None] = None

    def count(self, layout: Layout) -> int:
        """Return the number of directions."""
        return min(self.steps, layout.entries)

    def mask(
        self, layout: Layout, values_N: Vector, draw: LazyStream, within_N: Mask | None = None
    ) -> Mask:
        """Return the mask of the entries of largest magnitude."""
        mask_N = top_k_mask(values_N, self.count(layout))
        return mask_N if within_N is None else mask_N & within_N

    def settings(self) -> dict[str, Any]:
        """Return the number of steps."""
        return {"steps": self.steps}

    def describe(self) -> str:
        """Return a description such as ``200 of its steps``."""
        return f"{self.steps} of its steps"
