"""Server steps on products B A: their interfaces, and the algebra that they share.

The mean of the clients' A and the mean of their B do not have the mean product. A product step is
data of a method, a small frozen value in a module of its own. It may change the gradient that the
server's optimiser takes, and it may put other factors in the place of those that the optimiser
leaves:

====================  =============  ==========================  ===============================
module                method         gradient                    afterwards
====================  =============  ==========================  ===============================
one_factor_step       FedSRD         one factor, by turns
corrected_mean_step   LoRA-FAIR      mean, B corrected
mean_product_step     FlexLoRA       the head's                  factors of the mean product
rebasing_step         FedSVD         mean of B and the head      the same product in a new basis
====================  =============  ==========================  ===============================

With D the start minus the trained values of a client, the change of its product is

    D_W = B A - (B - D_B) (A - D_A) = D_B A + (B - D_B) D_A.

Products are held as two stacked factors. No matrix of the size of a weight is built.

Shapes: vectors float32 over a layout of N entries; A (R, I), B (O, R): R ranks, I input features,
O output features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from floss_sim.methods.tensor_kinds import kinds_mask
from floss_sim.rng import LazyStream
from floss_sim.vectors.layout import LORA_A, LORA_B, Layout, TensorSpec
from floss_sim.vectors.top_k import Mask, Vector

Floats = NDArray[np.float64]
Adapter = tuple[TensorSpec, TensorSpec]


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


class Gradient(NamedTuple):
    """Gradient of a server step.

    Attributes:
        values: The gradient, float32 of shape (N,).
        moving: Mask of the entries that the step moves, shape (N,); None: all.
    """

    values: Vector
    moving: Mask | None = None


class NewFactors(NamedTuple):
    """Values that a server puts in the place of its own.

    Attributes:
        values: The new values, float32 of shape (N,).
        bases: Matrix T (R, R) by name of a tensor B whose new values are B T: the same product in
            another basis. The optimiser's moments of B follow it.
    """

    values: Vector
    bases: Mapping[str, Floats]


class Factors(NamedTuple):
    """The two matrices of an adapter.

    Attributes:
        a: A, float64 of shape (R, I).
        b: B, float64 of shape (O, R).
    """

    a: Floats
    b: Floats


class ProductStep(Protocol):
    """Interface of a server step on products.

    It is a :class:`GradientStep`, a :class:`RefactoringStep`, or both.
    """

    @property
    def leaves_entries(self) -> bool:
        """Whether some rounds leave some entries of A or B as they are."""

    @property
    def takes_mean(self) -> bool:
        """Whether the mean update is enough where all clients start from the server's values."""

    def changed_entries(self, layout: Layout, held: int, version: int) -> int:
        """Return the expected number of entries that change between two versions."""

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain values for fingerprints."""

    def describe(self) -> str:
        """Return a short description, such as ``SVD of the mean product``."""


@runtime_checkable
class GradientStep(Protocol):
    """Interface of a step that changes the gradient which the server's optimiser takes."""

    def gradient(
        self,
        layout: Layout,
        server_N: Vector,
        mean: Gradient,
        parts: Sequence[Contribution],
        version: int,
        draw: LazyStream,
    ) -> Gradient:
        """Return the gradient of a server step.

        Args:
            layout: Layout of the N entries.
            server_N: The server's vector.
            mean: The weighted mean of the updates, and the entries that clients trained.
            parts: The clients' parts.
            version: Version before the step.
            draw: Function that returns the random generator of the step.
        """


@runtime_checkable
class RefactoringStep(Protocol):
    """Interface of a step that puts other factors in the place of the server's.

    It changes the basis of B, so that clients cannot add what an earlier update left out.
    """

    def refactor(
        self, layout: Layout, server_N: Vector, parts: Sequence[Contribution], version: int
    ) -> NewFactors | None:
        """Return the server's new values; None if they stay.

        Args:
            layout: Layout of the N entries.
            server_N: The server's vector after the optimiser's step.
            parts: The clients' parts.
            version: Version after the step.
        """


def factors_of(layout: Layout, adapter: Adapter, vector_N: Vector) -> Factors:
    """Return the two matrices of an adapter in a vector."""
    a, b = (vector_N[layout.slices[t.name]].reshape(t.shape) for t in adapter)
    return Factors(a.astype(np.float64), b.astype(np.float64))


def put_factors(layout: Layout, adapter: Adapter, factors: Factors, vector_N: Vector) -> None:
    """Write the two matrices of an adapter into a vector, in place."""
    for tensor, matrix in zip(adapter, factors, strict=True):
        vector_N[layout.slices[tensor.name]] = matrix.ravel()


def product_change(layout: Layout, adapter: Adapter, part: Contribution) -> tuple[Floats, Floats]:
    """Return a client's D_W as two stacked factors, (O, 2 R) and (2 R, I).

    Args:
        layout: Layout of the N entries.
        adapter: A and B of the adapter.
        part: The client's part.
    """
    start, update = (factors_of(layout, adapter, v) for v in (part.start, part.update))
    return np.hstack([update.b, start.b - update.b]), np.vstack([start.a, update.a])


def other_entries(layout: Layout) -> Mask:
    """Return the mask of all entries but those of A and B, shape (N,)."""
    return ~kinds_mask(layout, (LORA_A, LORA_B))
