"""Predicted sizes beside those of encoded normal values, whose largest are kept."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from wire_messages import flat, seeded

from floss_sim.vectors.top_k import random_k_mask, top_k_mask
from floss_sim.wire import VALUE_CODES, encode, predict_nbytes
from floss_sim.wire.framing import OVERHEAD_BYTES, fields
from floss_sim.wire.prediction import index_bytes

SMALL, LARGE = 17_034, 589_824
DENSITIES = [1 / 64, 1 / 16, 1 / 4, 1 / 2, 1]


@lru_cache(maxsize=16)
def kept(entries: int, density: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    values = seeded(seed + 100).standard_normal(entries).astype(np.float32)
    return values, top_k_mask(values, int(entries * density))


def encoded_bytes(entries: int, density: float, code: str, seed: int) -> int:
    values, mask = kept(entries, density, seed)
    return len(encode(flat(entries), values, mask, values=code, draw=seeded(seed)))


def predicted_bytes(entries: int, density: float, code: str) -> int:
    return predict_nbytes(entries, int(entries * density), code)


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("code", ["fp32", "fp16", "bf16", "sign"])
def test_a_large_message_is_predicted_within_half_a_percent(density: float, code: str):
    for seed in range(2):
        size = encoded_bytes(LARGE, density, code, seed)
        assert predicted_bytes(LARGE, density, code) == pytest.approx(size, rel=0.005)


@pytest.mark.parametrize("entries", [SMALL, LARGE])
@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("code", VALUE_CODES)
def test_messages_are_predicted_on_average(entries: int, density: float, code: str):
    """Within 0.5 % or 8 bytes of the mean; of quantisers also of two standard errors.

    The largest of all values decides what tail and, in their buckets, int8 and int4 take, and the
    packing library has two ways with int8: their messages differ by 1 % from each other.
    """
    times, repeats = (16, 8) if entries == SMALL else (3, 2)
    sizes = [encoded_bytes(entries, density, code, seed) for seed in range(times)]
    bound = max(0.005 * np.mean(sizes), 8)
    if code in ("int8", "int4", "tail"):
        spread = max(np.std(sizes, ddof=1), 0.0095 * np.mean(sizes) * (entries == LARGE))
        bound += 2 * spread * np.sqrt(1 / times + 1 / repeats)
    assert abs(predicted_bytes(entries, density, code) - np.mean(sizes)) <= bound


@pytest.mark.parametrize("entries", [40, 1000, SMALL, LARGE])
@pytest.mark.parametrize("share", [0.0005, 0.01, 0.1, 0.3, 0.5, 0.8, 1])
def test_uniform_positions_are_predicted_to_a_few_bytes(entries: int, share: float):
    count = max(1, int(entries * share))
    predicted = index_bytes(entries, count)
    sizes = []
    for seed in range(8):
        mask = random_k_mask(entries, count, seeded(seed))
        ones = np.ones(entries, np.float32)
        sizes.append(len(fields(encode(flat(entries), ones, mask))[0].index))
    assert abs(predicted - np.mean(sizes)) <= 3


@pytest.mark.parametrize("code", VALUE_CODES)
def test_nothing_is_a_frame_and_all_have_no_positions(code: str):
    assert predict_nbytes(100, 0, code) == predict_nbytes(0, 0, code) == OVERHEAD_BYTES
    form = VALUE_CODES[code]
    for count in (1, 2, 100, 2000):
        plain = OVERHEAD_BYTES + 4 * form.scales(count) + -(-count * form.bits // 8)
        assert index_bytes(count, count) == 0
        assert OVERHEAD_BYTES < predict_nbytes(count, count, code) <= plain


@pytest.mark.parametrize("code", VALUE_CODES)
def test_of_a_larger_universe_a_sample_is_drawn(code: str):
    """4e6 entries: in proportion to a quarter of them, but for tail, whose largest grows."""
    quarter, whole = (
        predict_nbytes(entries, entries // 16, code) - index_bytes(entries, entries // 16)
        for entries in (1_000_000, 4_000_000)
    )
    assert whole == pytest.approx(4 * quarter, rel=0.02 if code == "tail" else 0.005)


def test_a_prediction_is_the_same_each_time():
    first = predict_nbytes(5000, 300, "int8")
    predict_nbytes.cache_clear()
    assert predict_nbytes(5000, 300, "int8") == first


@pytest.mark.parametrize("code", VALUE_CODES)
def test_denser_messages_are_larger(code: str):
    sizes = [predict_nbytes(SMALL, count, code) for count in range(500, 8500, 500)]
    assert sizes == sorted(sizes)
