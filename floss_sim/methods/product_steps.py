"""Server step on products B A, brought back to one factor (FedSRD, Yan et al. 2025).

The mean of the clients' A and the mean of their B do not have the mean product. FedSRD's server
therefore averages the changes of the products, and looks for the change of one factor alone, B and
A in turns, that comes closest to the mean (least squares). Of that change a random part is kept and
scaled up, so that its expectation stays.

With D the start minus the trained values of a client, the change of its product is

    D_W = B A - (B - D_B) (A - D_A) = D_B A + (B - D_B) D_A.

The server with factors B and A takes in B's turn the D_B with the smallest || D_B A - mean D_W ||,
which is mean(D_W) A^+, and in A's turn B^+ mean(D_W); X^+ is the pseudoinverse. Directions in which
the fixed factor is small are left out: to change the product there, the other would have to move
far, and with plain averages training collapses (``digits``, rank 4, 60 rounds: accuracy 0.21
without the bound, 0.94 with it). All products here have r rows or columns; no matrix of the size of
a weight is built. The head is averaged.

Shapes: vectors float32 over a layout of N entries; A (R, I), B (O, R).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from floss_sim.methods.rank_selectors import adapters
from floss_sim.methods.top_k_selectors import RandomK
from floss_sim.rng import LazyStream
from floss_sim.vectors.density import format_density, parse_density
from floss_sim.vectors.layout import LORA_A, LORA_B, Layout
from floss_sim.vectors.top_k import Mask, Vector

Floats = NDArray[np.float64]
_LEAST = 0.3  # of the largest singular value: smaller ones of the fixed factor are left out


class Contribution(NamedTuple):
    """A client's part in a server step.

    Attributes:
        weight: Weight of the client in the mean.
        start: Values that the client started from, float32 of shape (N,).
        update: Decoded update: start minus trained values.
    """

    weight: float
    start: Vector
    update: Vector


@dataclass(frozen=True)
class ProductStep:
    """Server step on products, with a random part of one factor, B and A in turns.

    Args:
        density: Fraction of the factor's entries that move, in (0, 1].
    """

    density: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "density", parse_density(self.density))

    def turn(self, version: int) -> str:
        """Return the kind of the factor that the step after a version moves; B is first."""
        return (LORA_B, LORA_A)[version % 2]

    def gradient(
        self,
        layout: Layout,
        server_N: Vector,
        parts: Sequence[Contribution],
        version: int,
        draw: LazyStream,
    ) -> tuple[Vector, Mask]:
        """Return the gradient of a server step, and the mask of the entries that move.

        Args:
            layout: Layout of the N entries.
            server_N: The server's vector.
            parts: The clients' parts.
            version: Version before the step.
            draw: Function that returns the random generator of the random part.
        """
        turn = self.turn(version)
        gradient_N = np.zeros(layout.entries, dtype=np.float32)
        moving_N = np.array([t.kind not in (LORA_A, LORA_B) for t in layout.tensors])
        moving_N = np.repeat(moving_N, layout.tensor_sizes)
        for part in parts:
            gradient_N[moving_N] += np.float32(part.weight) * part.update[moving_N]
        for a, b in adapters(layout):
            moved, at = (a, layout.slices[a.name]) if turn == LORA_A else (b, layout.slices[b.name])
            factors = [layout.slices[a.name], layout.slices[b.name]]
            change = _factor_change(server_N, parts, factors, (a.shape, b.shape), turn)
            gradient_N[at] = change.ravel() / self.density
            moving_N[at] = RandomK(self.density).mask(Layout((moved,)), gradient_N[at], draw)
        return np.where(moving_N, gradient_N, np.float32(0)), moving_N

    def settings(self) -> dict[str, Any]:
        """Return the density of the step, as plain values."""
        return {"density": self.density}

    def describe(self) -> str:
        """Return a description such as ``product step of 1/4 of B and A in turns``."""
        return f"product step of {format_density(self.density)} of B and A in turns"


def _factor_change(
    server_N: Vector,
    parts: Sequence[Contribution],
    places: Sequence[slice],
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    turn: str,
) -> Floats:
    """Return the change of one factor that is closest to the mean change of an adapter's product.

    Args:
        server_N: The server's vector.
        parts: The clients' parts.
        places: Slices of A and of B.
        shapes: Shapes of A and of B.
        turn: Kind of the factor that changes.
    """

    def factors(vector_N: Vector) -> tuple[Floats, Floats]:
        a, b = (vector_N[p].reshape(s) for p, s in zip(places, shapes, strict=True))
        return a.astype(np.float64), b.astype(np.float64)

    a_RI, b_OR = factors(server_N)
    inverse = np.linalg.pinv(a_RI if turn == LORA_B else b_OR, rcond=_LEAST)
    change: Floats = np.zeros(shapes[turn == LORA_B])
    for weight, start_N, update_N in parts:
        (start_a, start_b), (d_a, d_b) = factors(start_N), factors(update_N)
        left, right = np.hstack([d_b, start_b - d_b]), np.vstack([start_a, d_a])  # D_W = left right
        change += weight * (
            left @ (right @ inverse) if turn == LORA_B else (inverse @ left) @ right
        )
    return change
