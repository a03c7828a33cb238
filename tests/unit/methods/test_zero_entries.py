"""Predicted downloads while entries are still zero, beside messages that are really encoded."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from floss_sim import RunConfig, load_task
from floss_sim.methods import METHODS, Exchange, MaskHistory, Method, method_from_name
from floss_sim.methods.touched_entries import STARTED
from floss_sim.methods.zero_entries import sent_part
from floss_sim.rng import lazy_stream
from floss_sim.vectors.layout import Layout
from floss_sim.wire import sent_entries

SPARSE = {"down_density": 1 / 4, "up_density": 1 / 8}
OPTIONS = (
    ("floss", {"scope": "tensor", **SPARSE}),
    ("floss", {"dense_head": True, **SPARSE}),
    ("floss", {"dense_head": True, "down_density": 3 / 4}),
    ("bitfit", {"scope": "tensor", **SPARSE}),
    ("rolora", SPARSE),
    ("rolora", {"change_ledger": True}),
    ("hetlora", {"which": "largest"}),
    ("fedsa-lora", SPARSE),
    ("feddpa", {"private_rank": 1, "down_density": 3 / 4}),
    ("fedsvd", {"scope": "tensor", **SPARSE}),
    ("fslora", {"density": 1 / 2, "down_values": "int8"}),
)


def config(name: str, **options) -> RunConfig:
    return RunConfig.of(load_task("digits"), method_from_name(name, **options), rank=4)


@cache
def initial(layout: Layout) -> np.ndarray:
    return layout.initial_vector(0)


def first_download(method: Method, layout: Layout, tier: int) -> bytes:
    exchange, history = Exchange(method, layout, 0), MaskHistory(layout.entries)
    vector_N = initial(layout)
    known_N = exchange.known_download_mask(history, tier, 0, 0)
    if method.change_ledger:
        mask_N = np.zeros(layout.entries, dtype=bool)
    elif method.downloads_by_dispatch:
        mask_N = known_N
    else:
        mask_N = exchange.download_mask(vector_N, history, tier, 0)
    return exchange.download(vector_N, mask_N, tier, 0, known_N)


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in METHODS if name != "full"), *OPTIONS], ids=str
)
def test_the_first_download_carries_exactly_the_predicted_entries(name: str, options: dict):
    made = config(name, **options)
    for tier in range(len(made.method.tiers)):
        blob = first_download(made.method, made.layout, tier)
        nbytes, count = made.sizes.message("down", tier, 0)
        assert count == sent_entries(blob)
        bundle = 9 if made.method.backbone_change else 0
        if not made.method.carries_mask(made.layout, tier, 0):  # zeros are values, and packed
            assert len(blob) + bundle == pytest.approx(nbytes, rel=0.07, abs=70)


@pytest.mark.parametrize("share", [0, 0.3, 1])
@pytest.mark.parametrize("density", [1 / 8, 3 / 4, 1])
@pytest.mark.parametrize("name", ["floss", "rolora", "feddpa", "fedsa-lora"])
def test_the_part_that_is_not_zero_is_that_of_a_drawn_vector(
    name: str, density: float, share: float
):
    made = config(name, down_density=density)
    layout, selector = made.layout, made.method.download_selector(0, 0)
    draw = np.random.default_rng(0)
    is_started_N = np.repeat([t.kind in STARTED for t in layout.tensors], layout.tensor_sizes)
    values_N = draw.normal(size=layout.entries).astype(np.float32)
    values_N[~is_started_N & (draw.random(layout.entries) >= share)] = 0
    mask_N = selector.mask(layout, values_N, lazy_stream(0, "test"))
    real = [np.count_nonzero(values_N[mask_N & s]) for s in (is_started_N, ~is_started_N)]
    part = sent_part(selector, layout, share)
    assert [part.started, part.touched] == pytest.approx(real, rel=0.05, abs=50)
    assert part.count == pytest.approx(sum(real), rel=0.02)
