"""What a server that remembers masks sends, and what it keeps for that."""

from __future__ import annotations

import numpy as np
import pytest

from floss_sim import RunConfig, load_profile, load_task, open_learner, run
from floss_sim.methods import MaskLedger, method_from_name

CLIENTS, ROUNDS = 6, 8


def record(**options: object):
    method = method_from_name("floss", down_density=1 / 4, up_density=1 / 16, **options)
    fleet = {"clients": CLIENTS, "law": "iid"}
    config = RunConfig.of(load_task("digits"), method, rank=4)
    config = config.with_(fleet=fleet, server={"cohort": 3})
    learner = open_learner(config, "cpu")
    made = run(config, load_profile("paper-200-20"), learner, rounds=ROUNDS, eval_every=4)
    return made, learner.snapshot()


@pytest.fixture(scope="module")
def both():
    return record(), record(mask_ledger=True)


def test_what_is_learned_is_the_same_to_the_bit(both):
    (without, plain), (with_, kept) = both
    assert np.array_equal(plain.tensors["P"], kept.tensors["P"])
    assert without.evaluated()["loss"].equals(with_.evaluated()["loss"])
    assert without.rounds["up_bytes"].equals(with_.rounds["up_bytes"])


def test_a_client_that_holds_an_older_mask_is_sent_less(both):
    (without, _), (with_, _) = both
    seen: set[int] = set()
    saved = []
    for plain, beside in zip(
        without.transfers.to_pylist(), with_.transfers.to_pylist(), strict=True
    ):
        if plain["direction"] == "down":
            if plain["client"] in seen:
                saved.append(plain["nbytes"] - beside["nbytes"])
            else:
                assert beside["nbytes"] == plain["nbytes"]
            if plain["version"]:
                seen.add(plain["client"])
    assert len(saved) > 10
    assert min(saved) >= 0
    assert np.mean(saved) > 50  # of the 400 bytes of positions


def test_the_server_keeps_a_mask_for_each_version_that_is_held(both):
    _, (with_, kept) = both
    held = kept.tensors["held"]
    assert held.shape == (CLIENTS,)
    assert [v for _, v in kept.tensors["held_keys"].tolist()] == sorted({*held.tolist()} - {0})
    entries = kept.tensors["P"].size
    assert kept.tensors["held_masks"].shape[1] == -(-entries // 8)
    sent = with_.transfers.to_pandas().query("direction == 'down'")
    newest = sent.groupby("client").version.max()
    assert all(held[client] == version for client, version in newest.items())


def test_masks_that_no_client_holds_are_forgotten():
    ledger, mask_N = MaskLedger(2), np.arange(20) % 3 == 0
    for version in (1, 2):
        ledger.keep(0, version, mask_N)
    ledger.confirm(1, 2)
    ledger.forget(lambda client: 0)
    assert ledger.mask(0, 1, 20) is None
    assert np.array_equal(ledger.mask(0, 2, 20), mask_N)
    again = MaskLedger(2)
    again.restore(ledger.state())
    assert np.array_equal(again.mask(0, 2, 20), mask_N)
    assert again.held_version(1) == 2


def test_a_version_is_forgotten_by_tier():
    ledger = MaskLedger(2)
    for tier, version in ((0, 5), (1, 5), (0, 6)):
        ledger.keep(tier, version, np.ones(8, bool))
    ledger.confirm(0, 6)
    ledger.confirm(1, 5)
    ledger.forget(lambda client: client)
    assert sorted(ledger.masks) == [(0, 6), (1, 5)]


def test_what_it_takes_is_counted():
    config = RunConfig.of(load_task("digits"), method_from_name("floss", mask_ledger=True), rank=4)
    entries, size = config.layout.entries, config.method.ledger_nbytes
    assert size(config.layout, 100, 7) == 4 * 100 + 7 * -(-entries // 8)
    assert size(config.layout, 100, 900) == 4 * 100 + 100 * -(-entries // 8)
    persistent = method_from_name("sparse-adapter", mask_ledger=True)
    assert persistent.ledger_nbytes(config.layout, 50, 7) == 4 * 50 + 4 * entries
