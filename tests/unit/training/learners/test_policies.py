"""Passes of every policy and method: on the device or on the host, whole or interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from floss_sim import RunConfig, RunFolder, floss, load_profile, load_task, open_learner, run
from floss_sim.errors import NonFiniteUpdateError
from floss_sim.methods import method_from_name
from floss_sim.protocol import NO_STATE, Dispatch
from floss_sim.runs.conditions import conditions
from floss_sim.simulator import buffered, deadline, first_k, wait_all
from floss_sim.training.bank.updates import full_updates
from floss_sim.training.gpu.device_top_k import top_k_updates
from floss_sim.training.learners.bank_learner import BankLearner
from floss_sim.training.side_by_side import training_job

FLOSS = {"down_density": 1 / 4, "up_density": 1 / 16}
METHODS = {
    "floss": floss(1 / 4, 1 / 16),
    "tiers": method_from_name("floss-tiers", tiers="1:1:1/2,2:1/4:1/64", scope="tensor"),
    "error feedback": method_from_name("floss", **FLOSS, error_feedback=True, up_values="int4"),
    "masks": method_from_name("adapter-lth", factor=0.8, mask_ledger=True, up_values="int8"),
}
POLICIES = {
    "wait-all": wait_all(),
    "first-k": first_k(2, late="finish"),
    "deadline": deadline(0.2, minimum=2),
    "buffered": buffered(2),
}
ROUNDS, STOPS = 4, 2


def config_of(method=METHODS["floss"]) -> RunConfig:
    config = RunConfig.of(load_task("digits"), method, rank=2)
    return config.with_(fleet={"clients": 30}, server={"cohort": 5})


def learner_of(config: RunConfig, chunk: int = 2, **chosen) -> BankLearner:
    opened = open_learner(config, "cpu")
    assert isinstance(opened, BankLearner)
    return BankLearner(config, opened._model, chunk, **chosen)


@pytest.fixture(params=METHODS.values(), ids=METHODS.keys())
def config(request: pytest.FixtureRequest) -> RunConfig:
    return config_of(request.param)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_updates_cut_on_the_device_leave_every_bit(config: RunConfig, policy):
    network = load_profile("lte")
    records, models = [], []
    for updates in (full_updates, top_k_updates):
        learner = learner_of(config, updates=updates)
        records.append(run(config, network, learner, rounds=ROUNDS, policy=policy, eval_every=2))
        models.append(learner.model())
    assert records[1].rounds.equals(records[0].rounds)
    assert records[1].transfers.equals(records[0].transfers)
    assert models[1] == models[0]


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_an_interrupted_run_goes_on_bit_for_bit(config: RunConfig, policy, tmp_path: Path):
    network = load_profile("lte")
    shaped = config.description(learner_of(config).identity, conditions(network, policy))
    whole, killed = (RunFolder.open(tmp_path / name, shaped) for name in ("whole", "killed"))
    run(config, network, learner_of(config), rounds=ROUNDS, policy=policy, folder=whole)
    dying, number = learner_of(config, updates=top_k_updates), 0
    real = dying.train

    def train(dispatch, state):
        nonlocal number
        number += dying.version == STOPS
        if number == 2:  # a pass has just been computed
            raise KeyboardInterrupt
        return real(dispatch, state)

    dying.train = train
    with pytest.raises(KeyboardInterrupt):
        run(
            config, network, dying, rounds=ROUNDS, policy=policy, folder=killed, commit_every_s=0,
        )  # fmt: skip
    assert killed.manifest().rounds == STOPS
    fresh = learner_of(config, updates=top_k_updates)
    run(config, network, fresh, rounds=ROUNDS, policy=policy, folder=killed)
    assert killed.record().rounds.equals(whole.record().rounds)
    assert killed.record().transfers.equals(whole.record().transfers)
    assert killed.model(ROUNDS) == whole.model(ROUNDS)


def send(learner: BankLearner, clients=(3, 17, 29, 4, 8)) -> list[Dispatch]:
    return [learner.dispatch(client, i) for i, client in enumerate(clients)]


def of_equal_work(config: RunConfig, count: int) -> list[int]:
    """Clients whose order of passes is that of their dispatches."""
    sizes = [len(part) for part in config.clients]
    size = max(set(sizes), key=sizes.count)
    return [client for client, own in enumerate(sizes) if own == size][:count]


def test_an_update_that_is_not_finite_is_an_error_of_who_asks_for_it(
    monkeypatch: pytest.MonkeyPatch,
):
    """A client that shares its pass may never get as far."""
    config, real = config_of(), training_job.train_together

    def broken(parties, *told):
        values_CN = real(parties, *told)[0]
        if len(values_CN) == 2:
            values_CN[1, 5] = float("nan")
        return [values_CN]

    learner = learner_of(config)
    clients = of_equal_work(config, 3)
    sent = send(learner, clients)
    monkeypatch.setattr(training_job, "train_together", broken)
    for i in (0, 2):
        learner.train(sent[i], NO_STATE)
    with pytest.raises(NonFiniteUpdateError, match=f"client {clients[1]} from version 0"):
        learner.train(sent[1], NO_STATE)


def test_what_a_checkpoint_holds_is_what_is_computed_and_not_over():
    learner = learner_of(config_of())
    sent = send(learner, of_equal_work(learner.config, 4))
    learner.train(sent[0], NO_STATE)
    kept = {name for name in learner.snapshot().tensors if name.startswith("update/")}
    assert kept == {"update/0", "update/1"}


def test_a_learner_that_is_restored_knows_nothing_of_before():
    config = config_of()
    learner, twin = learner_of(config), learner_of(config)
    first, *clients = of_equal_work(config, 5)
    mine, others = send(learner, [first, *clients[:3]]), send(twin, clients)
    for one in mine[::2]:
        learner.train(one, NO_STATE)
    learner.restore(replace(twin.snapshot(), in_flight=tuple(others)))
    for one in others:
        assert learner.train(one, NO_STATE) == twin.train(one, NO_STATE)


def test_jobs_are_the_passes_that_training_would_make():
    """Whoever computes them, the uploads are the same; a computed job is asked for no more."""
    learner, twin = learner_of(config_of()), learner_of(config_of())
    sent, others = send(learner), send(twin)
    clients = []
    for one in sent:
        if job := learner.job(one):
            clients.append(job.clients)
            job.compute()
        assert learner.job(one) is None
    assert sorted(clients) == [1, 2, 2]
    for one, other in zip(sent, others, strict=True):
        assert learner.train(one, NO_STATE) == twin.train(other, NO_STATE)
