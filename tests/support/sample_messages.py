"""Messages of every index code and value code over made-up layouts, with and without masks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from floss_sim.vectors.layout import Layout, TensorSpec
from floss_sim.vectors.top_k import Mask, Vector
from floss_sim.wire import INDEX_CODES, VALUE_CODES, encode

SMALL = Layout(
    (
        TensorSpec("head.bias", (3,), "head_bias"),
        TensorSpec("head.weight", (3, 8), "head_weight"),
        TensorSpec("layer.000.q.lora_A", (4, 8), "lora_A"),
        TensorSpec("layer.000.q.lora_B", (12, 4), "lora_B"),
        TensorSpec("norm.bias", (5,), "bias"),
    )
)
_LAYERS = [f"layer.{i:03d}.{role}" for i in range(4) for role in ("q", "v")]
MIDDLE = Layout(
    (
        TensorSpec("head.weight", (5, 50), "head_weight"),
        *(
            TensorSpec(f"{name}.lora_{side}", shape, f"lora_{side}")
            for name in _LAYERS
            for side, shape in (("A", (6, 50)), ("B", (70, 6)))
        ),
    )
)
ONE = Layout((TensorSpec("x", (1,), "bias"),))
LAYOUTS = {"small": SMALL, "middle": MIDDLE, "one": ONE}


@dataclass(frozen=True, eq=False)
class Sample:
    """A message of a layout's N entries, and all that it was made of; values and masks are (N,)."""

    name: str
    layout: Layout
    values: Vector
    mask: Mask
    known: Mask | None
    held: Mask | None
    index: str
    value_code: str

    def encoded(self) -> bytes:
        """Return its bytes."""
        return encode(
            self.layout,
            self.values,
            self.mask,
            values=self.value_code,
            index=self.index,
            known_N=self.known,
            held_N=self.held,
            draw=np.random.default_rng(1),
        )


def samples(
    layouts: Sequence[str] = ("small", "middle"),
    indices: Sequence[str] = tuple(INDEX_CODES),
    values: Sequence[str] = tuple(VALUE_CODES),
) -> Iterator[Sample]:
    """Yield a sample of each combination, with and without a known mask."""
    for name, index, code, has_known in itertools.product(layouts, indices, values, (False, True)):
        yield sample(name, index, code, has_known)


def sample(layout_name: str, index: str, value_code: str, has_known: bool) -> Sample:
    """Return the sample of a combination, always the same one."""
    layout = LAYOUTS[layout_name]
    draw = np.random.default_rng(2)
    near_N, held_N, values_N = _drawn(layout, draw)
    known_N = near_N | (draw.random(layout.entries) < 0.3) if has_known else None
    if index == "none":
        mask_N = np.ones(layout.entries, bool) if known_N is None else known_N
    else:
        mask_N = near_N & (draw.random(layout.entries) < 0.1) if index == "rice" else near_N
        mask_N[np.flatnonzero(near_N)[:1]] = True
    return Sample(
        f"{layout_name}-{index}-{value_code}{'-known' * has_known}",
        layout, values_N, mask_N, known_N, held_N if index == "held" else None, index, value_code,
    )  # fmt: skip


def _drawn(layout: Layout, draw: np.random.Generator) -> tuple[Mask, Mask, Vector]:
    """Return a mask whose density differs from row to row, one that resembles it, and values."""
    order_N = np.arange(layout.entries) if layout.row_order is None else layout.row_order
    densities = draw.choice([0.0, 0.01, 0.1, 0.5, 0.97, 1.0], layout.row_sizes.size)
    mask_N = np.zeros(layout.entries, bool)
    mask_N[order_N] = draw.random(layout.entries) < np.repeat(densities, layout.row_sizes)
    mask_N[0] = True
    held_N: NDArray[np.bool_] = mask_N ^ (draw.random(layout.entries) < 0.05)
    values_N = (draw.standard_normal(layout.entries) ** 3).astype(np.float32)  # heavy tails
    values_N[values_N == 0] = 1
    return mask_N, held_N, values_N
