"""Server step that brings the product into a new basis (FedSVD, Lee et al., NeurIPS 2025).

FedSVD's clients train B alone, so that the mean of their products is the product of the means. Its
server (section 3, equation 7, algorithm 1) averages B, and takes the SVD of B A = U S V^T: the new
A is V^T, with orthonormal rows, and the new B is U S. The product stays. Every ``rebase_every``
rounds this is done.

The new B is B T with T = A V. An update D of B is, in the new basis, D T, because its effect D A is
that of D T in V^T. The optimiser's moments follow: a mean of updates, m, becomes m T. A mean of
squares, v, becomes v (T * T): that of D T, if the entries of D are independent and without mean.

A client that trained in another basis (it was late, or its download was rounded or thinned) has
changed the product by D A', with its own A'. Its D is brought into the server's basis by least
squares: D A' A^+.

Shapes: vectors float32 over a layout of N entries; A (R, I), B (O, R), T (R, R).
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
    Floats,
    Gradient,
    NewFactors,
    factors_of,
    put_factors,
)
from floss_sim.methods.rank_selectors import adapters
from floss_sim.methods.tensor_kinds import kinds_mask
from floss_sim.rng import LazyStream
from floss_sim.vectors.layout import LORA_A, Layout
from floss_sim.vectors.top_k import Vector


@dataclass(frozen=True)
class RebasingStep:
    """Server step that replaces A by the right singular vectors of the product.

    Args:
        rebase_every: Rounds from one change of the basis to the next, at least 1.

    Raises:
        ConfigError: A number of rounds below 1.
    """

    rebase_every: int = 1
    takes_mean: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.rebase_every < 1:
            raise ConfigError(
                f"a new basis every {self.rebase_every} rounds; valid: 0 (never) or more"
            )

    @property
    def leaves_entries(self) -> bool:
        """Whether some rounds leave A as it is."""
        return self.rebase_every > 1

    def changed_entries(self, layout: Layout, held: int, version: int) -> int:
        """Return the entries of B and the head, and of A if its basis changes in between."""
        rebased = version // self.rebase_every > held // self.rebase_every
        still = 0 if rebased else np.count_nonzero(kinds_mask(layout, (LORA_A,)))
        return layout.entries - int(still)

    def gradient(
        self,
        layout: Layout,
        server_N: Vector,
        mean: Gradient,
        parts: Sequence[Contribution],
        version: int,
        draw: LazyStream,
    ) -> Gradient:
        """Return the mean update of B and the head, all of B in the server's basis.

        Args:
            layout: Layout of the N entries.
            server_N: The server's vector.
            mean: The weighted mean of the updates, and the entries that clients trained.
            parts: The clients' parts.
            version: Version before the step.
            draw: Not used.
        """
        gradient_N = mean.values.copy()
        for adapter in adapters(layout):
            at_a, at_b = (layout.slices[tensor.name] for tensor in adapter)
            others = [p for p in parts if not np.array_equal(p.start[at_a], server_N[at_a])]
            if not others:
                continue
            inverse = np.linalg.pinv(factors_of(layout, adapter, server_N).a)
            for weight, start_N, update_N in others:
                own = factors_of(layout, adapter, start_N)
                update = factors_of(layout, adapter, update_N)
                turned = update.b @ (own.a @ inverse) - update.b
                gradient_N[at_b] += (weight * turned).ravel().astype(np.float32)
        return mean._replace(values=gradient_N)

    def refactor(
        self, layout: Layout, server_N: Vector, parts: Sequence[Contribution], version: int
    ) -> NewFactors | None:
        """Return the product in its new basis; None in other rounds.

        Args:
            layout: Layout of the N entries.
            server_N: The server's vector after the optimiser's step.
            parts: The clients' parts.
            version: Version after the step.
        """
        if version % self.rebase_every:
            return None
        values_N, bases = server_N.copy(), dict[str, Floats]()
        for adapter in adapters(layout):
            old = factors_of(layout, adapter, server_N)
            if not old.b.any():
                continue
            new = leading_factors(old.b, old.a, old.a)
            bases[adapter[1].name] = old.a @ new.a.T
            put_factors(layout, adapter, new, values_N)
        return NewFactors(values_N, bases)

    def settings(self) -> dict[str, Any]:
        """Return the rounds between changes of the basis, as plain values."""
        return {"rebase_every": self.rebase_every}

    def describe(self) -> str:
        """Return a description such as ``a new basis every 5 rounds``."""
        rounds = "round" if self.rebase_every == 1 else f"{self.rebase_every} rounds"
        return f"a new basis every {rounds}"
