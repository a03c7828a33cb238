"""Server step to the factors of the clients' mean product (FlexLoRA, Bai et al., NeurIPS 2024).

FlexLoRA's clients may have different ranks. Its server takes the weighted mean of their products,
sum_i w_i B_i A_i, and the SVD gives the factors of each rank: a client of r ranks downloads the
leading r of them, which are the best approximation by r ranks. B has the singular values, as in the
authors' code (alibaba/FederatedScope, fed_utils/adaptive_peft.py). The mean replaces A and B whole,
as a plain average; the server's optimiser moves the head alone.

A rate eta below 1 keeps a part of the old product: (1 - eta) B A + eta mean. Weights of a round
that do not add up to 1 (stale updates weigh less) leave the rest to the old product, too.

Shapes: vectors float32 over a layout of N entries; A (R, I), B (O, R).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from floss_sim.errors import ConfigError
from floss_sim.methods.factored_products import leading_factors
from floss_sim.methods.product_steps import (
    Contribution,
    Gradient,
    NewFactors,
    factors_of,
    other_entries,
    put_factors,
)
from floss_sim.methods.rank_selectors import adapters
from floss_sim.rng import LazyStream
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Vector


@dataclass(frozen=True)
class MeanProductStep:
    """Server step to the leading factors of the mean product.

    Args:
        product_rate: Part of the mean in the new product, in (0, 1].

    Raises:
        ConfigError: A rate out of range.
    """

    product_rate: float = 1.0
    leaves_entries: ClassVar[bool] = False
    takes_mean: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.product_rate <= 1:
            raise ConfigError(f"product rate {self.product_rate:g}; valid: above 0, at most 1")

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
        """Return the mean of the head's updates; A and B do not move.

        Args:
            layout: Layout of the N entries.
            server_N: The server's vector.
            mean: The weighted mean of the updates.
            parts: The clients' parts.
            version: Version before the step.
            draw: Not used.
        """
        moving_N = other_entries(layout)
        return Gradient(np.where(moving_N, mean.values, np.float32(0)), moving_N)

    def refactor(
        self, layout: Layout, server_N: Vector, parts: Sequence[Contribution], version: int
    ) -> NewFactors:
        """Return the factors of the mean product.

        Args:
            layout: Layout of the N entries.
            server_N: The server's vector after the optimiser's step.
            parts: The clients' parts.
            version: Version after the step.
        """
        rate, values_N = self.product_rate, server_N.copy()
        kept = 1 - rate * sum(part.weight for part in parts)
        shares = [rate * part.weight for part in parts]
        trained_N = [part.start - part.update for part in parts]
        for adapter in adapters(layout):
            old = factors_of(layout, adapter, server_N)
            trained = [factors_of(layout, adapter, own_N) for own_N in trained_N]
            left = [kept * old.b, *(w * own.b for w, own in zip(shares, trained, strict=True))]
            right = [old.a, *(own.a for own in trained)]
            new = leading_factors(np.hstack(left), np.vstack(right), old.a)
            put_factors(layout, adapter, new, values_N)
        return NewFactors(values_N, {})

    def settings(self) -> dict[str, Any]:
        """Return the rate, as plain values."""
        return {"product_rate": self.product_rate}

    def describe(self) -> str:
        """Return a description such as ``SVD of the mean product, rate 0.5``."""
        rate = "" if self.product_rate == 1 else f", rate {self.product_rate:g}"
        return f"SVD of the mean product{rate}"
