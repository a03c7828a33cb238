"""Server step on products, brought back to one factor (FedSRD, Yan et al. 2025).

FedSRD's server averages the changes of the products, and looks for the change of one factor alone,
B and A in turns, that comes closest to the mean (least squares). Of that change a random part is
kept and scaled up, so that its expectation stays. This is FedSRD-e of the authors' code
(Youth-49/FedSRD_2025, federated_learning/fed_global.py); FedSRD itself first cuts the mean product
to the rank. There A has the first turn, which changes nothing while B is zero.

The server with factors B and A takes in B's turn the D_B with the smallest || D_B A - mean D_W ||,
which is mean(D_W) A^+, and in A's turn B^+ mean(D_W); X^+ is the pseudoinverse. Directions in which
the fixed factor is small are left out: to change the product there, the other would have to move
far, and with plain averages training collapses (``digits``, rank 4, 60 rounds: accuracy 0.21
without the bound, 0.94 with it). The head is averaged.

Shapes: vectors float32 over a layout of N entries; A (R, I), B (O, R).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from floss_sim.methods.product_steps import (
    Adapter,
    Contribution,
    Floats,
    Gradient,
    factors_of,
    other_entries,
    product_change,
)
from floss_sim.methods.rank_selectors import adapters
from floss_sim.methods.top_k_selectors import RandomK
from floss_sim.rng import LazyStream
from floss_sim.vectors.density import format_density, parse_density
from floss_sim.vectors.layout import LORA_A, LORA_B, Layout
from floss_sim.vectors.top_k import Vector

_LEAST = 0.3  # of the largest singular value: smaller ones of the fixed factor are left out


@dataclass(frozen=True)
class OneFactorStep:
    """Server step on products, with a random part of one factor, B and A in turns.

    Args:
        density: Fraction of the factor's entries that move, in (0, 1].
    """

    density: float = 1.0
    leaves_entries: ClassVar[bool] = True
    takes_mean: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "density", parse_density(self.density))

    def turn(self, version: int) -> str:
        """Return the kind of the factor that the step after a version moves; B is first."""
        return (LORA_B, LORA_A)[version % 2]

    def changed_entries(self, layout: Layout, held: int, version: int) -> int:
        """Return the expected entries of random parts of A and B, and those of the head."""
        turns = {LORA_B: (version + 1) // 2 - (held + 1) // 2, LORA_A: version // 2 - held // 2}
        moved = 0.0
        for tensor in layout.tensors:
            is_factor = tensor.kind in (LORA_A, LORA_B)
            still = (1 - self.density) ** turns[tensor.kind] if is_factor else 0
            moved += tensor.size * (1 - still)
        return round(moved)

    def gradient(
        self,
        layout: Layout,
        server_N: Vector,
        mean: Gradient,
        parts: Sequence[Contribution],
        version: int,
        draw: LazyStream,
    ) -> Gradient:
        """Return the change of the turn's factor, and the mean of the head's updates.

        Args:
            layout: Layout of the N entries.
            server_N: The server's vector.
            mean: The weighted mean of the updates.
            parts: The clients' parts.
            version: Version before the step.
            draw: Function that returns the random generator of the random part.
        """
        turn = self.turn(version)
        moving_N = other_entries(layout)
        gradient_N = mean.values.copy()
        for adapter in adapters(layout):
            moved = adapter[turn == LORA_B]
            at = layout.slices[moved.name]
            change = _factor_change(layout, adapter, server_N, parts, turn)
            gradient_N[at] = change.ravel() / self.density
            moving_N[at] = RandomK(self.density).mask(Layout((moved,)), gradient_N[at], draw)
        return Gradient(np.where(moving_N, gradient_N, np.float32(0)), moving_N)

    def settings(self) -> dict[str, Any]:
        """Return the density of the step, as plain values."""
        return {"density": self.density}

    def describe(self) -> str:
        """Return a description such as ``product step of 1/4 of B and A in turns``."""
        return f"product step of {format_density(self.density)} of B and A in turns"


def _factor_change(
    layout: Layout,
    adapter: Adapter,
    server_N: Vector,
    parts: Sequence[Contribution],
    turn: str,
) -> Floats:
    """Return the change of one factor that is closest to the mean change of an adapter's product.

    Args:
        layout: Layout of the N entries.
        adapter: A and B of the adapter.
        server_N: The server's vector.
        parts: The clients' parts.
        turn: Kind of the factor that changes.
    """
    server = factors_of(layout, adapter, server_N)
    inverse = np.linalg.pinv(server.a if turn == LORA_B else server.b, rcond=_LEAST)
    change: Floats = np.zeros(adapter[turn == LORA_B].shape)
    for part in parts:
        left, right = product_change(layout, adapter, part)
        change += part.weight * (
            left @ (right @ inverse) if turn == LORA_B else (inverse @ left) @ right
        )
    return change
