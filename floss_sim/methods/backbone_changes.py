"""Server steps that change the frozen weights: products of the clients' adapters, as two factors.

The mean of the clients' products B A is not the product of the mean B and the mean A. These steps
change the frozen weight of each adapted module, so that clients receive the mean product.

FLoRA (Wang et al., NeurIPS 2024) stacks: [w_1 B_1, w_2 B_2, ...] times A_1, A_2, ... one below the
other is the weighted mean of the products. It is merged into the weight, and clients start again
from a new adapter. FedEx-LoRA (Singhal et al., ACL 2025) averages A and B, and adds the residual
mean(B_i A_i) - mean(B_i) mean(A_i) to the weight (equations 5 and 6). With weights w_i
of sum W, and means over them,

    sum_i w_i B_i A_i - W mean(B) mean(A) = sum_i w_i (B_i - mean(B)) (A_i - mean(A)).

The left factors on the right-hand side sum to zero, so that A_K may stand in the place of mean(A):
the residual of K clients has rank (K - 1) r at most, not (K + 1) r as its plain form suggests.

Shapes: A (R, I), B (O, R) of a module; factors (O, Q) and (Q, I) of a change of rank Q.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import ConfigError, LayoutError
from floss_sim.methods.factored_products import product_svd
from floss_sim.methods.rank_selectors import adapters
from floss_sim.vectors.layout import Layout

Floats = NDArray[np.float64]
ChangeFactors = tuple[Floats, Floats]  # (O, Q) and (Q, I)
_NO_RANK = float(np.finfo(np.float32).eps)  # of the largest singular value: smaller ones are zero


class TrainedAdapter(NamedTuple):
    """A client's trained adapter of one module.

    Attributes:
        weight: Weight of the client in the mean.
        a: A, float64 of shape (R, I).
        b: B, float64 of shape (O, R).
    """

    weight: float
    a: Floats
    b: Floats


class BackboneChange(Protocol):
    """Interface of a server step that changes the weights of adapted modules."""

    restarts: ClassVar[bool]
    """Whether clients train a new adapter in each dispatch, and the server keeps none."""

    def factors(self, clients: Sequence[TrainedAdapter]) -> ChangeFactors:
        """Return two factors of the change of a weight, before LoRA's scale.

        Args:
            clients: The clients' adapters of the module, at least one.
        """

    def rank(self, clients: int, rank: int, shape: tuple[int, int]) -> int:
        """Return the largest rank of a change.

        Args:
            clients: Number of clients in the step.
            rank: Rank of their adapters.
            shape: Shape of the weight (O, I).
        """

    def check_layout(self, layout: Layout) -> None:
        """Raise LayoutError if a layout has no use for a setting."""

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain values for fingerprints."""

    def describe(self) -> str:
        """Return a short description."""


@dataclass(frozen=True)
class Stacking:
    """FLoRA's step: the stack of the clients' adapters, merged into the weight.

    Args:
        rate: Factor of the stacked products, above 0; 1 is the paper's plain mean.

    Raises:
        ConfigError: A rate that is not above 0.
    """

    rate: float = 1.0
    restarts: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (self.rate > 0 and math.isfinite(self.rate)):
            raise ConfigError(f"merge rate {self.rate!r}; valid: above 0, such as 1")

    def factors(self, clients: Sequence[TrainedAdapter]) -> ChangeFactors:
        """Return the stacked B, which have the weights, and the stacked A."""
        left = np.hstack([self.rate * one.weight * one.b for one in clients])
        return left, np.vstack([one.a for one in clients])

    def rank(self, clients: int, rank: int, shape: tuple[int, int]) -> int:
        """Return the sum of the clients' ranks: stacks are sent as they are."""
        return clients * rank

    def check_layout(self, layout: Layout) -> None:
        """Return: every layout has a use for the rate."""

    def settings(self) -> dict[str, Any]:
        """Return the rate, as plain values."""
        return {"stacking": True, "rate": self.rate}

    def describe(self) -> str:
        """Return a description such as ``stacks merged``."""
        return "stacks merged" + (f" at rate {self.rate:g}" if self.rate != 1 else "")


@dataclass(frozen=True)
class ExactResidual:
    """FedEx-LoRA's step: the residual of averaging A and B apart, as factors of its true rank.

    Args:
        largest: Singular values that are kept, the largest ones; None: all. With 0 the step is
            that of dense LoRA.

    Raises:
        ConfigError: A number below 0.
    """

    largest: int | None = None
    restarts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.largest is not None and (type(self.largest) is not int or self.largest < 0):
            raise ConfigError(f"residual rank {self.largest!r}; valid: whole numbers from 0")

    def factors(self, clients: Sequence[TrainedAdapter]) -> ChangeFactors:
        """Return balanced factors U sqrt(S) and sqrt(S) V of the residual's singular values S."""
        *others, last = clients
        rows, columns = last.b.shape[0], last.a.shape[1]
        if not others or self.largest == 0:
            return np.zeros((rows, 0)), np.zeros((0, columns))
        total = sum(one.weight for one in clients)
        mean_b = sum(one.weight * one.b for one in clients) / total
        left = np.hstack([one.weight * (one.b - mean_b) for one in others])
        right = np.vstack([one.a - last.a for one in others])
        u, values, v = product_svd(left, right, _NO_RANK, self.largest)
        roots = np.sqrt(values)
        return u * roots, roots[:, None] * v

    def rank(self, clients: int, rank: int, shape: tuple[int, int]) -> int:
        """Return the true rank of a residual, or as many singular values as are kept."""
        true = min((clients - 1) * rank, *shape)
        return true if self.largest is None else min(true, self.largest)

    def check_layout(self, layout: Layout) -> None:
        """Raise LayoutError if no adapted weight has as many singular values as are kept."""
        most = max((min(b.shape[0], a.shape[1]) for a, b in adapters(layout)), default=0)
        if self.largest is not None and self.largest > most:
            raise LayoutError(
                f"residual rank {self.largest}; valid: 0 to {most}, the smaller side of the "
                "largest adapted weight"
            )

    def settings(self) -> dict[str, Any]:
        """Return the number of singular values, as plain values."""
        return {"residual": "all" if self.largest is None else self.largest}

    def describe(self) -> str:
        """Return a description such as ``residual of rank 8``."""
        return "exact residual" if self.largest is None else f"residual of rank {self.largest}"
