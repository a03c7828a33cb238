"""Mean of the factors, with B corrected towards the mean product (LoRA-FAIR, Bian et al. 2025).

LoRA-FAIR (ICCV 2025, equation 8) averages A and B, and adds to B the dB with the smallest

    || mean(B_i A_i) - (mean B + dB) mean A ||^2 + penalty || dB ||^2.

A is not corrected. The solution is a ridge regression of R unknowns for each row of B:

    dB = (mean(B_i A_i) - mean B mean A) (mean A)^T (mean A (mean A)^T + penalty I)^-1.

The paper (known from notes of others) measures the products by a similarity and dB by its norm, and
descends on both; squares have a solution in closed form. A high penalty gives plain averages, dense
LoRA.

In terms of a server step: with D the start minus the trained values, the gradient is mean D_A for A
and mean D_B - dB for B, which the task's server optimiser takes. Plain averaging at rate 1 is the
method of the paper. The mean product is computed as the server's product less the mean change of
the clients' products. Where clients start from the server's values both are equal; the change is
also defined where downloads are thinned or updates are stale.

Shapes: vectors float32 over a layout of N entries; A (R, I), B (O, R).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from floss_sim.errors import ConfigError
from floss_sim.methods.product_steps import (
    Adapter,
    Contribution,
    Floats,
    Gradient,
    factors_of,
    product_change,
)
from floss_sim.methods.rank_selectors import adapters
from floss_sim.rng import LazyStream
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Vector


@dataclass(frozen=True)
class CorrectedMeanStep:
    """Mean of the factors, with B corrected towards the mean product.

    Args:
        penalty: Penalty of the squared correction, lambda, above 0.

    Raises:
        ConfigError: A penalty that is not a finite number above 0.
    """

    penalty: float = 0.01
    leaves_entries: ClassVar[bool] = False
    takes_mean: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.penalty < math.inf:
            raise ConfigError(f"penalty {self.penalty:g}; valid: a finite number above 0")

    def changed_entries(self, layout: Layout, held: int, version: int) -> int:
        """Return the number of all entries."""
        return layout.entries

    def gradient(
        self,
        layout: Layout,
        server_N: Vector,
        mean: Gradient,
        parts: Sequence[Contribution],
        version: int,
        draw: LazyStream,
    ) -> Gradient:
        """Return the mean update less the correction of B.

        Args:
            layout: Layout of the N entries.
            server_N: The server's vector.
            mean: The weighted mean of the updates.
            parts: The clients' parts.
            version: Version before the step.
            draw: Not used.
        """
        gradient_N = mean.values.copy()
        for adapter in adapters(layout):
            correction = self._correction(layout, adapter, server_N, mean.values, parts)
            gradient_N[layout.slices[adapter[1].name]] -= correction.ravel().astype(np.float32)
        return mean._replace(values=gradient_N)

    def _correction(
        self,
        layout: Layout,
        adapter: Adapter,
        server_N: Vector,
        mean_N: Vector,
        parts: Sequence[Contribution],
    ) -> Floats:
        """Return the correction of an adapter's B, shape (O, R)."""
        server = factors_of(layout, adapter, server_N)
        mean = factors_of(layout, adapter, mean_N)
        new_a, new_b = server.a - mean.a, server.b - mean.b
        # mean product - mean B mean A, times (mean A)^T
        missing = server.b @ (server.a @ new_a.T) - new_b @ (new_a @ new_a.T)
        for part in parts:
            left, right = product_change(layout, adapter, part)
            missing -= part.weight * (left @ (right @ new_a.T))
        ridge = new_a @ new_a.T + self.penalty * np.eye(len(new_a))
        correction_RO: Floats = np.linalg.solve(ridge, missing.T).astype(np.float64)
        return correction_RO.T

    def settings(self) -> dict[str, Any]:
        """Return the penalty, as plain values."""
        return {"penalty": self.penalty}

    def describe(self) -> str:
        """Return a description such as ``B corrected, penalty 0.01``."""
        return f"B corrected, penalty {self.penalty:g}"
