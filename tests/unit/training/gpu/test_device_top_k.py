"""What goes up to a device and what comes back of it; the CPU stands in for one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from floss_sim.methods import Exchange, TopK, floss, floss_tiers, method_from_name
from floss_sim.protocol import NO_STATE
from floss_sim.training.bank import updates as module
from floss_sim.training.bank.updates import full_updates, rows_of
from floss_sim.training.gpu.device_top_k import top_k_updates
from floss_sim.training.local_sgd import Work
from floss_sim.vectors.layout import build_layout
from floss_sim.vectors.top_k import top_k_mask

CPU = torch.device("cpu")
VIT = {"model_type": "vit", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2}
LAYOUT = build_layout(VIT, trains="lora", targets=("q", "v"), rank=2, labels=3)


def works_of(*selectors: TopK | None, seed: int = 0) -> tuple[list[Work], torch.Tensor]:
    """Works of all clients from one array, and the values that they have come to."""
    draw = np.random.default_rng(seed)
    start_N = draw.integers(-3, 4, LAYOUT.entries).astype(np.float32) / 3
    trained_CN = draw.integers(-9, 10, (len(selectors), LAYOUT.entries)).astype(np.float32) / 7
    trained_CN[:, ::5] = start_N[::5]  # exact zeros
    works = [Work(start_N, None, (), 0, selector) for selector in selectors]
    return works, torch.from_numpy(trained_CN)


def test_rows_are_the_vectors_in_their_order_and_of_their_kind():
    one, two, same = np.float32([1, 2]), np.float32([3, 4]), np.float32([1, 2])
    for vectors in ([one], [one, two, same], [two, one, one, two, same], [one, one]):
        rows = rows_of(vectors, CPU)
        assert np.array_equal(rows.numpy(), np.stack(vectors))
        rows.fill_(9)
        assert one.tolist() == [1, 2]
    masks = rows_of([np.array([True, False])] * 2, CPU)
    assert masks.dtype == torch.bool
    assert masks.tolist() == [[True, False]] * 2


def test_what_clients_share_goes_up_once(monkeypatch: pytest.MonkeyPatch):
    shapes: list[tuple[int, ...]] = []
    real = torch.from_numpy
    monkeypatch.setattr(module.torch, "from_numpy", lambda a: shapes.append(a.shape) or real(a))
    one, two = np.zeros(7, np.float32), np.ones(7, np.float32)
    assert rows_of([one, two, one, one, two], CPU).shape == (5, 7)
    assert shapes == [(2, 7)]


def test_an_update_is_cut_to_its_top_k_and_loses_nothing_else():
    quarter, eighth = TopK(1 / 4), TopK(1 / 8, "tensor", True)
    works, values_CN = works_of(quarter, None, eighth, quarter)
    ours, theirs = top_k_updates(works, values_CN, LAYOUT), full_updates(works, values_CN, LAYOUT)
    assert ours[1].chosen is None
    assert ours[1].values.tobytes() == theirs[1].values.tobytes()
    for i in (0, 2, 3):
        mask_N = works[i].ranked.mask(LAYOUT, theirs[i].values, lambda: None)
        assert np.array_equal(ours[i].chosen, mask_N)
        assert ours[i].values[mask_N].tobytes() == theirs[i].values[mask_N].tobytes()
        assert not ours[i].values[~mask_N].any()
        assert theirs[i].values[~mask_N].any()


@pytest.mark.parametrize("method", [floss(1 / 4, 1 / 16), floss_tiers("1:1:1/2,1:1/4:1/64")])
def test_a_cut_update_makes_the_same_message(method):
    exchange = Exchange(method, LAYOUT, 0)
    for tier in range(len(method.tiers)):
        works, values_CN = works_of(exchange.ranking_selector(tier), seed=tier)
        (ours,), (theirs,) = (
            top_k_updates(works, values_CN, LAYOUT),
            full_updates(works, values_CN, LAYOUT),
        )
        expected = exchange.upload(theirs.values, tier, 3, 8, None, NO_STATE)
        for chosen in (ours.chosen, None):  # as after a checkpoint
            reply = exchange.upload(ours.values, tier, 3, 8, None, NO_STATE, chosen)
            assert reply == expected


def test_only_what_is_sent_comes_back_from_the_device(monkeypatch: pytest.MonkeyPatch):
    """A tensor's numpy is the only way off it."""
    taken: list[int] = []
    real = torch.Tensor.numpy
    monkeypatch.setattr(torch.Tensor, "numpy", lambda t: taken.append(t.nbytes) or real(t))
    selector = TopK(1 / 16)
    top_k_updates(*works_of(selector, selector, selector), LAYOUT)
    assert sum(taken) == 3 * selector.count(LAYOUT) * (4 + 4)


def test_values_that_are_not_finite_are_in_what_comes_back():
    for wrong in (np.nan, np.inf, -np.inf):
        works, values_CN = works_of(TopK(1 / 16), TopK(1 / 16))
        values_CN[1, 11] = float(wrong)
        fine, broken = top_k_updates(works, values_CN, LAYOUT)
        assert np.isfinite(fine.values).all()
        assert not np.isfinite(broken.values).all()


def test_a_top_k_ranks_alone_where_nothing_is_added_and_something_stays():
    def selector_of(name: str, **options) -> TopK | None:
        return Exchange(method_from_name(name, **options), LAYOUT, 0).ranking_selector(0)

    densities = {"down_density": 1 / 4, "up_density": 1 / 16}
    assert selector_of("floss", **densities) == TopK(1 / 16)
    assert selector_of("floss", **densities, scope="tensor") == TopK(1 / 16, "tensor")
    assert selector_of("floss", **densities, error_feedback=True) is None
    assert selector_of("floss", down_density=1 / 4, up_density=1) is None
    for name in ("dense", "sparse-adapter", "hetlora"):
        assert selector_of(name) is None


def test_a_mask_that_is_given_is_taken_at_its_word():
    exchange = Exchange(floss(1, 1 / 16), LAYOUT, 0)
    update_N = np.random.default_rng(0).normal(size=LAYOUT.entries).astype(np.float32)
    other_N = ~top_k_mask(update_N, LAYOUT.entries // 2)
    assert exchange.upload(update_N, 0, 1, 2, None, NO_STATE, other_N).entries == other_N.sum()
