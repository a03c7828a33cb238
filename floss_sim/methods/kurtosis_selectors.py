"""Top-k selector whose density in each tensor depends on the kurtosis of the tensor's values.

Few entries carry most of a heavy-tailed tensor, so that it needs a lower density. The kurtosis
E x^4 / (E x^2)^2 says how heavy the tail is: of n values of which a fraction f is equal and the
rest zero it is 1 / f. The density of a tensor is here proportional to 1 / kurtosis, such that all
tensors together have the given density; message sizes are therefore known beforehand. FedSRD (Yan
et al. 2025) has the densities of tensors from their kurtosis k, too: 0.15 - min(0.11, 0.1 ln k) in
the authors' code (Youth-49/FedSRD_2025, main_fedsrd.py), so that their sum is not fixed.

Shapes: ``values_N`` float32 and masks bool over a layout of N entries of T tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from floss_sim.rng import LazyStream
from floss_sim.vectors.density import format_density, kept_count, parse_density
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Mask, Vector, top_k_mask

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class KurtosisTopK:
    """Selector of the largest magnitudes of each tensor, fewer where the kurtosis is high.

    Args:
        density: Fraction of all entries that is kept, in (0, 1].
    """

    density: float
    shared: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "density", parse_density(self.density))

    def count(self, layout: Layout) -> int:
        """Return the number of selected entries, before exact zeros are dropped."""
        return kept_count(layout.entries, self.density)

    def mask(
        self,
        layout: Layout,
        values_N: Vector,
        draw: LazyStream,
        within_N: Mask | None = None,
    ) -> Mask:
        """Return the mask of the selected entries."""
        parts = [values_N[layout.slices[t.name]] for t in layout.tensors]
        weights_T = np.array([part.size / _kurtosis(part) for part in parts])
        counts_T = shares_within(self.count(layout), weights_T, layout.tensor_sizes)
        masks = [
            top_k_mask(part, int(count)) if count else np.zeros(part.size, dtype=bool)
            for part, count in zip(parts, counts_T, strict=True)
        ]
        mask_N = np.concatenate(masks)
        return mask_N if within_N is None else mask_N & within_N

    def settings(self) -> dict[str, Any]:
        """Return the density and its rule, as plain values."""
        return {"density": self.density, "by": "kurtosis"}

    def describe(self) -> str:
        """Return a description such as ``1/16 by kurtosis``."""
        return f"{format_density(self.density)} by kurtosis"


def _kurtosis(values: Vector) -> float:
    """Return the kurtosis about zero; that of one value among zeros if all values are zero."""
    squares = np.square(values, dtype=np.float64)
    mean = squares.mean()
    return float(np.square(squares).mean() / mean**2) if mean > 0 else float(values.size)


def shares_within(total: int, weights_T: NDArray[np.float64], most_T: Counts) -> Counts:
    """Return whole shares of a total, in proportion to weights, none above its bound.

    What exceeds a bound is divided among the others; fractions go to the largest remainders, ties
    to the lowest index.

    Args:
        total: Sum of the shares, at most the sum of the bounds.
        weights_T: Positive weights, shape (T,).
        most_T: Bounds, int64 of shape (T,).
    """
    exact_T = np.zeros(weights_T.size)
    open_T = np.ones(weights_T.size, dtype=bool)
    while True:
        left = total - most_T[~open_T].sum()
        exact_T[open_T] = left * weights_T[open_T] / weights_T[open_T].sum()
        full_T = open_T & (exact_T >= most_T)
        exact_T[full_T] = most_T[full_T]
        open_T &= ~full_T
        if not full_T.any() or not open_T.any():
            break
    counts_T = np.floor(exact_T).astype(np.int64)
    order = np.argsort(counts_T - exact_T, kind="stable")
    room = order[counts_T[order] < most_T[order]]
    counts_T[room[: total - counts_T.sum()]] += 1
    return counts_T
