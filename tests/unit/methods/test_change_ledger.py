"""A server that sends what has changed: the same training to the bit, with smaller downloads."""

from __future__ import annotations

import numpy as np
import pytest

from floss_sim import RunConfig, load_profile, load_task, open_learner, run, size_only
from floss_sim.analysis.traffic import Traffic
from floss_sim.errors import ConfigError
from floss_sim.methods import ChangeHistory, method_from_name

ROUNDS = 5
METHODS = {
    "rolora": {},
    "fedsrd": {"down_density": 1 / 4},
}


def config_of(name: str, **options: object) -> RunConfig:
    config = RunConfig.of(load_task("digits"), method_from_name(name, **options), rank=2)
    server = {"cohort": 3, "optimizer": "fedavg", "learning_rate": 1.0}
    return config.with_(fleet={"clients": 6, "law": "iid"}, server=server)


def trained(name: str, **options: object):
    config = config_of(name, **METHODS[name], **options)
    learner = open_learner(config, "cpu")
    made = run(config, load_profile("paper-200-20"), learner, rounds=ROUNDS, eval_every=3)
    return config, made, learner.snapshot()


def downloads(record):
    return record.transfers.to_pandas().query("direction == 'down'").reset_index()


@pytest.fixture(scope="module", params=METHODS)
def both(request: pytest.FixtureRequest):
    return trained(request.param), trained(request.param, change_ledger=True)


def test_what_is_learned_is_the_same_to_the_bit(both):
    (_, without, plain), (_, with_, kept) = both
    assert np.array_equal(plain.tensors["P"], kept.tensors["P"])
    assert without.evaluated()["loss"].equals(with_.evaluated()["loss"])
    assert without.rounds["up_bytes"].equals(with_.rounds["up_bytes"])


def test_downloads_are_as_predicted_and_smaller_for_clients_that_come_back(both):
    (_, without, _), (config, with_, _) = both
    sent, whole = downloads(with_), downloads(without)
    guess = downloads(size_only(config, load_profile("paper-200-20"), ROUNDS))
    assert (sent.client == guess.client).all()
    if config.method.name == "rolora":  # the kinds of the turns since the last participation
        assert (sent.entries == guess.entries).all()
    assert (sent.entries <= 1.1 * guess.entries).all()
    assert (sent.nbytes <= 1.1 * guess.nbytes).all()
    back = sent.duplicated("client") & (sent.version > 0)
    assert back.sum() > 6
    assert sent.nbytes[back].sum() < 0.9 * whole.nbytes[back].sum()
    assert (
        sent.entries[sent.version == 0] == 0
    ).all()  # the initial values are drawn from the seed


def test_a_forecast_of_traffic_knows_when_clients_come_back():
    config = config_of("rolora", change_ledger=True)
    record = size_only(config, load_profile("paper-200-20"), ROUNDS)
    traffic = Traffic.of_sizes(config.sizes, config.seed, ROUNDS, 6, lambda client: 1)
    assert sorted(traffic.down.ravel()) == sorted(downloads(record).nbytes)


def test_a_client_is_sent_the_union_of_the_turns_that_it_has_missed():
    """Of the layout with 2048 entries: A and B 1024 each, and 650 of the head."""
    sizes = config_of("rolora", change_ledger=True).sizes
    counts = {held: sizes.message("down", 0, 5, held)[1] for held in (5, 4, 3, 0)}
    assert counts == {5: 0, 4: 1024 + 650, 3: 2048 + 650, 0: 2048 + 650}


def test_a_random_part_of_each_turn_is_expected():
    sizes = config_of("fedsrd", down_density=1 / 4, change_ledger=True).sizes
    b, a = 1024 * (1 - 0.75**2), 1024 * 0.25  # B moved at 2 and 4, A at 3
    assert sizes.message("down", 0, 5, 2)[1] == round(a + b + 650)


def test_a_basis_is_sent_when_it_has_changed():
    """A has 1024 entries; it changes at versions 3, 6, ..., B and the head in all."""
    sizes = config_of("fedsvd", rebase_every=3, change_ledger=True).sizes
    counts = {held: sizes.message("down", 0, 5, held)[1] for held in (5, 4, 3, 2)}
    assert counts == {5: 0, 4: 1024 + 650, 3: 1024 + 650, 2: 2048 + 650}


@pytest.mark.parametrize("name", ["dense", "floss", "hetlora", "ecolora", "flexlora", "fedsvd"])
def test_a_ledger_of_no_use_is_refused(name: str):
    with pytest.raises(ConfigError, match="a change ledger needs downloads of density 1"):
        method_from_name(name, change_ledger=True)


def test_a_masked_download_is_refused():
    with pytest.raises(ConfigError, match="'rolora' lacks one of these"):
        method_from_name("rolora", down_density=1 / 2, change_ledger=True)


def test_an_entry_that_keeps_its_value_has_not_changed():
    history = ChangeHistory(3)
    history.record(np.float32([1, 2, 3]), np.float32([1, 0, 3]), 1)
    history.record(np.float32([1, 0, 3]), np.float32([5, 0, 3]), 2)
    assert history.since(0).tolist() == [True, True, False]
    assert history.since(1).tolist() == [True, False, False]
