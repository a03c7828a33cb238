"""Messages of a backbone's change: two factors for each adapted weight, or the weights' values.

A factor message holds the rank of each module's change, then a message of the wire format over a
layout of those factors (``lora_A`` (Q, I) and ``lora_B`` (O, Q), for modules with a rank Q above
0). A *bundle* is what a client downloads: an ordinary message, and behind it the factor messages of
the rounds that it missed, or one message of the adapted weights' offsets from the pretrained ones.
``wire/FORMAT.md`` has the bytes.

Shapes: vectors float32 over a layout of N entries; factors (O, Q) and (Q, I).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from floss_sim.errors import PayloadError
from floss_sim.methods.backbone_changes import ChangeFactors
from floss_sim.methods.rank_selectors import adapters
from floss_sim.vectors.layout import LORA_A, LORA_B, Layout, TensorSpec, sort_by_name
from floss_sim.vectors.top_k import Vector
from floss_sim.wire import decode, encode, sent_entries

_HEAD = struct.Struct("<BI")  # whether the change is dense, number of messages behind the first
_LENGTH = struct.Struct("<I")
_RANK = struct.Struct("<H")
RANK_BYTES = _RANK.size  # of each adapter, before the factors


@dataclass(frozen=True)
class Bundle:
    """A download with a change of the backbone.

    Attributes:
        main: Message of adapters and head.
        changes: Factor messages of consecutive versions up to the downloaded one; or the one
            message of the adapted weights.
        dense: Whether ``changes`` is the message of the adapted weights.
    """

    main: bytes
    changes: tuple[bytes, ...]
    dense: bool = False

    @property
    def nbytes(self) -> int:
        """Size of the download."""
        return bundle_overhead(len(self.changes)) + len(self.main) + sum(map(len, self.changes))

    def pack(self) -> bytes:
        """Return the bytes of the download."""
        parts = (self.main, *self.changes)
        lengths = b"".join(_LENGTH.pack(len(part)) for part in parts)
        return b"".join((_HEAD.pack(self.dense, len(self.changes)), lengths, *parts))

    @classmethod
    def unpack(cls, blob: bytes) -> Bundle:
        """Return the messages of a download; they are not decoded.

        Raises:
            PayloadError: The bytes are no bundle.
        """
        if len(blob) < _HEAD.size:
            raise PayloadError(f"bundle of {len(blob)} bytes is shorter than its head")
        dense, count = _HEAD.unpack_from(blob)
        begin = _HEAD.size + (count + 1) * _LENGTH.size
        if dense > 1 or (dense and count != 1) or begin > len(blob):
            raise PayloadError("the head of a bundle is damaged")
        table = blob[_HEAD.size : begin]
        ends = np.cumsum([n for (n,) in _LENGTH.iter_unpack(table)], dtype=np.int64) + begin
        if ends[-1] != len(blob):
            raise PayloadError(f"bundle of {len(blob)} bytes; its messages end at {ends[-1]}")
        starts = [begin, *ends[:-1].tolist()]
        main, *changes = (blob[a:b] for a, b in zip(starts, ends.tolist(), strict=True))
        return cls(main, tuple(changes), bool(dense))

    def entries(self, layout: Layout) -> int:
        """Return the number of entries that all messages carry."""
        modules = sum(1 for _ in adapters(layout))
        parts = self.changes if self.dense else [c[RANK_BYTES * modules :] for c in self.changes]
        return sum(sent_entries(part) for part in (self.main, *parts) if part)


def bundle_overhead(changes: int) -> int:
    """Return the bytes of a bundle beside its messages."""
    return _HEAD.size + (changes + 1) * _LENGTH.size


def encode_factors(
    layout: Layout,
    factors: Sequence[ChangeFactors],
    values: str = "fp32",
    draw: np.random.Generator | None = None,
) -> bytes:
    """Return the factor message of a change.

    Args:
        layout: Layout of the run.
        factors: Factors of each adapter's module, in the order of ``adapters(layout)``.
        values: Value code.
        draw: Random generator of an unbiased value code; other value codes need none.

    Raises:
        ValueError: A factor is not finite.
    """
    ranks = tuple(left.shape[1] for left, _ in factors)
    head = b"".join(map(_RANK.pack, ranks))
    own = factor_layout(layout, ranks)
    if not own.tensors:
        return head
    vector = np.empty(own.entries, dtype=np.float32)
    for (a, b), (left, right) in zip(adapters(layout), factors, strict=True):
        if left.shape[1]:
            vector[own.slices[a.name]] = right.ravel()
            vector[own.slices[b.name]] = left.ravel()
    everything = np.ones(own.entries, dtype=bool)
    return head + encode(own, vector, everything, values=values, draw=draw)


def decode_factors(layout: Layout, blob: bytes) -> list[ChangeFactors]:
    """Return the factors of each adapter's module, in the order of ``adapters(layout)``.

    Raises:
        PayloadError: The bytes are no factor message of this layout.
    """
    pairs = list(adapters(layout))
    if len(blob) < RANK_BYTES * len(pairs):
        raise PayloadError(f"factor message of {len(blob)} bytes is shorter than its ranks")
    head, rest = blob[: RANK_BYTES * len(pairs)], blob[RANK_BYTES * len(pairs) :]
    ranks = tuple(rank for (rank,) in _RANK.iter_unpack(head))
    own = factor_layout(layout, ranks)
    if bool(own.tensors) != bool(rest):
        raise PayloadError("a factor message's ranks do not fit its length")
    vector = decode(own, rest)[0].astype(np.float64) if rest else np.empty(0)
    found: list[ChangeFactors] = []
    for (a, b), rank in zip(pairs, ranks, strict=True):
        left, right = np.zeros((b.shape[0], rank)), np.zeros((rank, a.shape[1]))
        if rank:
            left = vector[own.slices[b.name]].reshape(left.shape)
            right = vector[own.slices[a.name]].reshape(right.shape)
        found.append((left, right))
    return found


def product_changes(layout: Layout, blob: bytes, scale: float) -> Vector:
    """Return the change that a factor message makes, zero outside adapted weights.

    Both ends compute it from the same bytes, so that they hold the same weights.

    Args:
        layout: Layout of the run, with the adapted weights.
        blob: The factor message.
        scale: LoRA's scale of products.

    Raises:
        PayloadError: The bytes are no factor message of this layout.
    """
    change_N = np.zeros(layout.entries, dtype=np.float32)
    for (a, _), (left, right) in zip(adapters(layout), decode_factors(layout, blob), strict=True):
        change_N[layout.slices[adapted_weight(a)]] = (scale * (left @ right)).ravel()
    return change_N


def adapted_weight(a: TensorSpec) -> str:
    """Return the name of the weight that an adapter's A belongs to."""
    return f"{a.name.rpartition('.')[0]}.weight"


@lru_cache(maxsize=256)
def factor_layout(layout: Layout, ranks: tuple[int, ...]) -> Layout:
    """Return the layout of a change's factors.

    Args:
        layout: Layout of the run.
        ranks: Rank of each adapter's module, in the order of ``adapters(layout)``.
    """
    specs = []
    for (a, b), rank in zip(adapters(layout), ranks, strict=True):
        if rank:
            specs.append(TensorSpec(a.name, (rank, a.shape[1]), LORA_A))
            specs.append(TensorSpec(b.name, (b.shape[0], rank), LORA_B))
    return Layout(sort_by_name(specs))
