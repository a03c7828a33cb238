"""Prediction of message sizes without encoding: uniform positions, normally distributed values.

Positions: the expected bytes of ``count`` of ``universe`` entries in the best index code. Values:
the encoded size of the ``count`` largest magnitudes of normal samples. Real masks and values
differ: :mod:`floss_sim.methods.predicted_sizes` corrects for it by recorded runs.
"""

from __future__ import annotations

import math
from functools import lru_cache

from floss_sim.rng import stream
from floss_sim.vectors.top_k import top_k_mask
from floss_sim.wire import framing
from floss_sim.wire.index_codes import MOST_RICE, range_bytes
from floss_sim.wire.range_coder import COARSE, FINE
from floss_sim.wire.value_codes import VALUE_CODES, ValueCode

_SAMPLE = 1 << 20  # draws; a larger universe is replaced by a sample of the same density
_MOST_DRAWS = 1 << 24  # draws, at most
_REPEATS = 8  # samples of a small universe, averaged because the sizes of messages vary
_SMALL = 1 << 17  # entries, at most, of a small universe
_ENOUGH = 1 << 12  # kept values that a sample needs


@lru_cache(maxsize=4096)
def predict_nbytes(universe: int, count: int, values: str = "fp32") -> int:
    """Return the predicted bytes of a message of ``count`` non-zero values.

    Args:
        universe: Number of entries that can be addressed: all, or those of a known mask.
        count: Number of entries that are sent.
        values: Value code, a key of ``VALUE_CODES``.
    """
    index = index_bytes(universe, count)
    return framing.OVERHEAD_BYTES + index + value_bytes(universe, count, values)


def plain_nbytes(entries: int) -> int:
    """Return the bytes of a message of all entries at 32 bits each, as papers count them."""
    return framing.OVERHEAD_BYTES + 4 * entries


def index_bytes(universe: int, count: int) -> int:
    """Return the predicted bytes of uniform positions in the smallest index code."""
    if count in (0, universe):
        return 0
    shortest = min(-(-universe // 8), range_bytes(universe, count))
    return min(shortest, _rice_bytes(universe, count)) if count <= MOST_RICE else shortest


def _rice_bytes(universe: int, count: int) -> int:
    """Return the expected bytes of Rice-coded gaps, which are geometrically distributed."""
    share = count / universe
    rests = (math.exp(2**width * math.log1p(-share)) for width in range(32))
    bits = min(1 + width + rest / (1 - rest) for width, rest in enumerate(rests) if rest < 1)
    return 1 + math.ceil(count * bits / 8)


def tensor_index_bytes(tensors: int) -> int:
    """Return the predicted bytes by which index code *tensors* marks those that are sent whole.

    Args:
        tensors: Number of tensors, of which some are sent whole and some not at all.
    """
    return 2 + math.ceil(tensors * math.log2(FINE.last + 1) / 8)


def rows_index_bytes(rows: int, sent: int) -> int:
    """Return the predicted bytes by which index code *rows* marks those that are sent whole.

    Args:
        rows: Number of rows, of which some are sent whole and the others not at all.
        sent: Number of rows that are sent.
    """
    return 2 + -(-(COARSE.last + 1) // 2) + index_bytes(rows, sent)


@lru_cache(maxsize=4096)
def value_bytes(universe: int, count: int, values: str) -> int:
    """Return the encoded bytes of the ``count`` largest of ``universe`` normal values."""
    if not count:
        return 0
    code = VALUE_CODES[values]
    if universe <= _SAMPLE:
        return _mean_bytes(code, universe, count)
    draws = min(universe, max(_SAMPLE, math.ceil(_ENOUGH * universe / count)), _MOST_DRAWS)
    sample = max(1, round(draws * count / universe))
    return math.ceil(_mean_bytes(code, draws, sample) * count / sample)


def _mean_bytes(code: ValueCode, universe: int, count: int) -> int:
    """Return the mean encoded bytes of the ``count`` largest of ``universe`` normal draws."""
    draw = stream(0, "wire", "values")
    sizes = []
    for _ in range(_REPEATS if universe <= _SMALL else 2):
        values_U = draw.standard_normal(universe, dtype="float32")
        sizes.append(len(code.write(values_U[top_k_mask(values_U, count)], draw)[0]))
    return round(sum(sizes) / len(sizes))
