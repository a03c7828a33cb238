"""Message sizes of every code over densities, for the top-k of normally distributed values.

Positions of such values are uniform, so no code takes fewer bytes than the information bound. Real
masks are not uniform. The codes *tensors* and *rows* are never the smallest here, but for real
masks they can take fewer bytes than the bound.

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

RANK, WIDTH = 16, 768  # ViT-B/16, BERT-base; LoRA on two matrices of 12 layers: 589,824
ADAPTER = 2 * RANK * WIDTH  # entries of one adapter: A and B
_UNIFORM = ("bitmap", "rice", "range")  # index codes that suit every layout
_BY_CELLS = ("tensors", "rows")  # index codes for layouts of more than one tensor
PeerMeasure = Callable[[Vector, Mask], Mapping[str, int]]


@dataclass(frozen=True)
class Sizes:
    """Sizes of the encoded top-k at one density.

    Attributes:
        density: Fraction of entries kept.
        kept: Number of entries kept.
        floor_bits: Information bound of the positions, in bits.
        index_bytes: Bytes of the index section, by name of the index code.
        messages: Contents of the message in the smallest index code, by name of the value code.
        peers: Bytes of other formats, by name of the format.
    """

    density: float
    kept: int
    floor_bits: float
    index_bytes: Mapping[str, int]
    messages: Mapping[str, Contents]
    peers: Mapping[str, int]

    def floor_bytes(self, values: str) -> float:
        """Return the bytes of the positions' bound plus the values in a value code."""
        return self.floor_bits / BITS_PER_BYTE + self.messages[values].value_bytes

    def formats(self, values: Sequence[str]) -> dict[str, float]:
        """Return the total bytes by format: a framed message per value code, and the peers."""
        own = {f"framed, {name}": self.messages[name].nbytes for name in values}
        return {**own, **self.peers}

    def bits_per_entry(self, nbytes: float) -> float:
        """Return a number of bytes as bits per kept entry."""
        return BITS_PER_BYTE * nbytes / self.kept


def layout_of(entries: int) -> Layout:
    """Return a layout of ``entries`` entries: LoRA of rank 16 and width 768, else one tensor."""
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
    """Return the sizes at each density, measured by encoding.

    Args:
        layout: Layout of the N entries.
        densities: Fractions of entries kept, each in (0, 1].
        seed: Seed of the random values.
        measure: Function from values and mask to the bytes of other formats, by name.
    """
    values_N = stream(seed, "wire", "survey").standard_normal(layout.entries, dtype=np.float32)
    return [_sizes(layout, values_N, density, seed, measure) for density in densities]


def _sizes(
    layout: Layout, values_N: Vector, density: float, seed: int, measure: PeerMeasure
) -> Sizes:
    kept = kept_count(layout.entries, density)
    mask_N = top_k_mask(values_N, kept)

    def contents_of(values: str, index: str | None = None) -> Contents:
        draw = stream(seed, "wire", "survey", values)
        return contents(encode(layout, values_N, mask_N, values=values, index=index, draw=draw))

    codes = _UNIFORM + (_BY_CELLS if len(layout.tensors) > 1 else ())
    return Sizes(
        density,
        kept,
        floor_bits(layout.entries, kept),
        {code: contents_of("sign", code).index_bytes for code in codes},  # the fastest value code
        {values: contents_of(values) for values in VALUE_CODES},
        {**_plain_format_bytes(values_N, mask_N), **measure(values_N, mask_N)},
    )


def _plain_format_bytes(values_N: Vector, mask_N: Mask) -> dict[str, int]:
    """Return the bytes of two formats without a library: bitmap or 32-bit indices, then fp32."""
    positions_K, values_K = np.flatnonzero(mask_N).astype("<u4"), values_N[mask_N]
    return {
        "bitmap + fp32": len(np.packbits(mask_N).tobytes() + values_K.tobytes()),
        "32-bit COO + fp32": len(positions_K.tobytes() + values_K.tobytes()),
    }
