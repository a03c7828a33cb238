"""Message sizes of every code over densities, for normally distributed values after a top-k.

Positions are uniform then, and no code goes below their floor. Real masks are not uniform: codes
by tensor and row, which only lose here, go below it there.

Shapes: ``values_N`` float32 and ``mask_N`` bool over a layout of N entries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from floss_sim.rng import stream
from floss_sim.units import BITS_PER_BYTE
from floss_sim.vectors.density import kept_count
from floss_sim.vectors.layout import (
    LORA_A,
    LORA_B,
    WEIGHT,
    Layout,
    TensorSpec,
)
from floss_sim.vectors.top_k import Mask, Vector, top_k_mask
from floss_sim.wire.codec import encode
from floss_sim.wire.entropy_bound import floor_bits
from floss_sim.wire.message_contents import Contents, contents
from floss_sim.wire.value_codes import VALUE_CODES

RANK, WIDTH = 16, 768  # of ViT-B/16 and BERT-base; two roles of 12 layers are 589,824 entries
ADAPTER = 2 * RANK * WIDTH  # entries of an adapted matrix
_UNIFORM = ("bitmap", "rice", "range")  # index codes of any layout
_BY_CELLS = ("tensors", "rows")  # those of layouts with more than one tensor
PeerMeasure = Callable[[Vector, Mask], Mapping[str, int]]


@dataclass(frozen=True)
class Sizes:
    """What the largest entries take at one density.

    Attributes:
        density: The fraction kept.
        kept: How many entries that is.
        floor_bits: The floor of their positions.
        index_bytes: Of each index code's section, by name.
        messages: What each value code makes of them, in the smallest index code.
        peers: Bytes of other formats, by name.
    """

    density: float
    kept: int
    floor_bits: float
    index_bytes: Mapping[str, int]
    messages: Mapping[str, Contents]
    peers: Mapping[str, int]

    def floor_bytes(self, values: str) -> float:
        """Return the bytes of the floor of positions and of values as a code writes them."""
        return self.floor_bits / BITS_PER_BYTE + self.messages[values].value_bytes

    def formats(self, values: Sequence[str]) -> dict[str, float]:
        """Return the bytes of all in each format: each value code's, framed, and the peers'."""
        own = {f"framed, {name}": self.messages[name].nbytes for name in values}
        return {**own, **self.peers}

    def bits_per_entry(self, nbytes: float) -> float:
        """Return bytes as bits per kept entry."""
        return BITS_PER_BYTE * nbytes / self.kept


def layout_of(entries: int) -> Layout:
    """Return a layout of so many entries: LoRA of rank 16 and width 768, or else one tensor."""
    adapters, rest = divmod(entries, ADAPTER)
    if rest or not adapters:
        return Layout((TensorSpec("plain", (entries,), WEIGHT),))
    shapes = (("lora_A", (RANK, WIDTH), LORA_A), ("lora_B", (WIDTH, RANK), LORA_B))
    specs = [
        TensorSpec(f"layer.{number:06d}.{name}", shape, kind)
        for number in range(adapters)
        for name, shape, kind in shapes
    ]
    return Layout(tuple(specs))


def survey(
    layout: Layout, densities: Sequence[float], seed: int, measure: PeerMeasure = lambda v, m: {}
) -> list[Sizes]:
    """Return the really encoded sizes at each density.

    Args:
        layout: Names the entries.
        densities: Each in (0, 1].
        seed: Draws the values.
        measure: Returns the bytes of other formats of the same values under the same mask.
    """
    values_N = stream(seed, "wire", "survey").standard_normal(layout.entries, dtype=np.float32)
    return [_sizes(layout, values_N, density, seed, measure) for density in densities]


def _sizes(
    layout: Layout, values_N: Vector, density: float, seed: int, measure: PeerMeasure
) -> Sizes:
    kept = kept_count(layout.entries, density)
    mask_N = top_k_mask(values_N, kept)

    def encoded(values: str, index: str | None = None) -> Contents:
        draw = stream(seed, "wire", "survey", values)
        return contents(encode(layout, values_N, mask_N, values=values, index=index, draw=draw))

    codes = _UNIFORM + (_BY_CELLS if len(layout.tensors) > 1 else ())
    return Sizes(
        density,
        kept,
        floor_bits(layout.entries, kept),
        {code: encoded("sign", code).index_bytes for code in codes},  # the fastest value code
        {values: encoded(values) for values in VALUE_CODES},
        {**_plain_format_bytes(values_N, mask_N), **measure(values_N, mask_N)},
    )


def _plain_format_bytes(values_N: Vector, mask_N: Mask) -> dict[str, int]:
    """Return the bytes of two formats that need no library: positions, then fp32 values."""
    positions_K, values_K = np.flatnonzero(mask_N).astype("<u4"), values_N[mask_N]
    return {
        "bitmap + fp32": len(np.packbits(mask_N).tobytes() + values_K.tobytes()),
        "32-bit COO + fp32": len(positions_K.tobytes() + values_K.tobytes()),
    }
