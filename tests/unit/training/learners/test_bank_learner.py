"""The learner that trains a cohort in passes: who shares one, what is kept, what memory allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from floss_sim import RunConfig, floss, load_profile, load_task, open_learner, run
from floss_sim.errors import ConfigError
from floss_sim.methods import method_from_name
from floss_sim.network import NetworkProfile
from floss_sim.protocol import NO_STATE, Arrival, Dispatch
from floss_sim.simulator import buffered, deadline
from floss_sim.training import choose_learner, learner_identity
from floss_sim.training.learners.bank_learner import BankLearner
from floss_sim.training.learners.sequential_learner import SequentialLearner
from floss_sim.training.side_by_side import training_job as module

COHORT = (3, 17, 29, 40, 8)


def config_of(method=None, **changes) -> RunConfig:
    return RunConfig.of(load_task("digits"), method or floss(1 / 4, 1 / 16), rank=4).with_(
        **changes
    )


def learner_of(config: RunConfig, chunk: int = 64) -> BankLearner:
    opened = open_learner(config, "cpu")
    assert isinstance(opened, BankLearner)
    return BankLearner(config, opened._model, chunk)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of clients in each pass."""
    sizes: list[int] = []
    real = module.train_together

    def counted(parties, *told):
        sizes.append(sum(len(party.works) for party in parties))
        return real(parties, *told)

    monkeypatch.setattr(module, "train_together", counted)
    return sizes


def send(learner: BankLearner, clients: Sequence[int] = COHORT, first: int = 0) -> list[Dispatch]:
    return [learner.dispatch(client, first + i) for i, client in enumerate(clients)]


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_without_bfloat16_is_refused(monkeypatch: pytest.MonkeyPatch, device: str):
    half = config_of(client={"precision": "bf16"})
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine's GPU may have it")
    with pytest.raises(
        ConfigError, match=f"'bf16' is not supported by this '{device}' device; valid: fp32"
    ):
        choose_learner(half, device=device)
    assert choose_learner(config_of(), device=device).chunk
    assert choose_learner(half, device="cpu").chunk
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert choose_learner(half, device="cuda").chunk


def test_a_cohort_is_one_pass_when_the_first_of_it_is_asked_for(passes: list[int]):
    learner = learner_of(config_of())
    sent = send(learner)
    assert passes == []
    uploads = [learner.train(one, NO_STATE) for one in reversed(sent)]
    assert passes == [5]
    assert [upload.client for upload in uploads] == list(reversed(COHORT))


def test_the_order_in_which_clients_are_asked_for_changes_nothing(passes: list[int]):
    config = config_of()
    found = []
    for order in ((0, 1, 2, 3, 4), (4, 2, 0, 1, 3)):
        learner = learner_of(config, chunk=2)
        sent = send(learner)
        blobs = {i: learner.train(sent[i], NO_STATE).blob for i in order}
        found.append([blobs[i] for i in range(5)])
    assert found[0] == found[1]
    assert sorted(passes) == [1, 1, 2, 2, 2, 2]


def test_updates_are_those_of_the_sequential_learner_to_float32():
    for method in (
        "dense",
        "ffa",
        "head",
        "bitfit",
        "sparse-adapter",
        "rolora",
        "fslora",
        "fedsrd",
        "ravan",
    ):
        config = config_of(method_from_name(method))
        bank, twin = open_learner(config, "cpu"), open_learner(config, "cpu", learner="sequential")
        assert isinstance(twin, SequentialLearner)
        for one, other in zip(send(bank), send(twin), strict=True):
            bank.train(one, NO_STATE)
            ours, theirs = bank._update(one), twin._update(other)
            assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()


def test_what_is_over_is_forgotten(passes: list[int]):
    learner = learner_of(config_of())
    sent = send(learner)
    learner.forget(sent[0], NO_STATE)  # lost on its way down
    uploads = [learner.train(one, NO_STATE) for one in sent[1:]]
    assert passes == [4]
    assert set(learner.snapshot().tensors) >= {f"update/{i}" for i in range(1, 5)}
    learner.aggregate([Arrival(a, b, 0.25, 0) for a, b in zip(sent[1:], uploads, strict=True)])
    assert not [name for name in learner.snapshot().tensors if name.startswith("update/")]


def test_a_number_that_is_given_again_is_computed_again(passes: list[int]):
    learner = learner_of(config_of())
    old = learner.train(send(learner, [3])[0], NO_STATE)
    new = learner.train(send(learner, [4])[0], NO_STATE)
    assert passes == [1, 1]
    assert old.blob != new.blob


@pytest.mark.parametrize(
    "policy", [deadline(0.2, minimum=2), buffered(2)], ids=["deadline", "buffered"]
)
def test_policies_that_lose_or_keep_the_late_agree_with_the_sequential_learner(policy):
    config = config_of(fleet={"clients": 30})
    records = [
        run(
            config, load_profile("lte"), open_learner(config, "cpu", learner=kind), rounds=5,
            policy=policy, eval_every=5,
        )
        for kind in ("bank", "sequential")
    ]  # fmt: skip
    ups = [[(r["client"], r["fate"]) for r in record.transfers.to_pylist()] for record in records]
    assert ups[0] == ups[1]
    losses = [record.evaluated()["loss"][-1].as_py() for record in records]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_run_repeats_bit_for_bit_and_learns_as_the_sequential_one(paper: NetworkProfile):
    config = config_of()
    records = [
        run(config, paper, open_learner(config, "cpu", learner=kind), rounds=10, eval_every=5)
        for kind in ("bank", "bank", "sequential")
    ]
    assert records[0].rounds.equals(records[1].rounds)
    assert records[0].transfers.equals(records[1].transfers)
    curves = [record.evaluated()["accuracy"].to_numpy() for record in records]
    assert np.abs(curves[0] - curves[2]).max() <= 2 / 350  # two of the 350 digits


def full_above(clients: int, error: Exception):
    """Return a pass that does not fit for more clients than that."""
    real = module.train_together

    def limited(parties, *told):
        if sum(len(party.works) for party in parties) > clients:
            raise error
        return real(parties, *told)

    return limited


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("can't allocate memory: 9"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    ],
)
def test_a_pass_that_does_not_fit_is_halved_and_that_is_said_once(
    error: Exception, monkeypatch: pytest.MonkeyPatch
):
    config = config_of()
    roomy, tight = learner_of(config), learner_of(config)
    expected = [roomy.train(one, NO_STATE) for one in send(roomy)]
    monkeypatch.setattr(module, "train_together", full_above(2, error))
    with pytest.warns(RuntimeWarning, match="5 clients .* continuing with 2") as said:
        found = [tight.train(one, NO_STATE) for one in send(tight)]
        again = [tight.train(one, NO_STATE) for one in send(tight, first=5)]
    assert len(said) == 1
    assert [u.entries for u in found] == [u.entries for u in expected]
    assert len(again) == 5


def test_a_batch_that_fits_for_no_client_is_refused(monkeypatch: pytest.MonkeyPatch):
    learner = learner_of(config_of())
    sent = send(learner)
    monkeypatch.setattr(module, "train_together", full_above(0, torch.OutOfMemoryError("no")))
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(
            ConfigError, match=r"16 examples does not fit .*'cpu'; lower client.batch_size"
        ),
    ):
        learner.train(sent[0], NO_STATE)


def test_other_errors_are_not_taken_for_a_full_memory(monkeypatch: pytest.MonkeyPatch):
    learner = learner_of(config_of())
    monkeypatch.setattr(module, "train_together", full_above(0, RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        learner.train(send(learner)[0], NO_STATE)


def test_which_learner_trains_follows_from_the_settings():
    assert choose_learner(config_of(), "sequential").kind == "torch-sequential"
    chosen = choose_learner(config_of())
    assert chosen.kind == learner_identity(config_of()).kind == f"torch-bank-{chosen.chunk}"
    assert not chosen.reason
    with pytest.raises(ConfigError, match="unknown learner 'flower'; valid: bank, sequential"):
        choose_learner(config_of(), "flower")


def test_what_cannot_be_stacked_trains_in_turn_and_a_layer_is_named():
    config = config_of(method_from_name("full"))
    chosen = choose_learner(config)
    assert chosen.kind == "torch-sequential"
    assert chosen.reason.startswith("embed.")
    learner = open_learner(config, "cpu")
    assert isinstance(learner, SequentialLearner)


def test_a_pass_holds_fewer_clients_where_batches_are_larger():
    small, large = (
        choose_learner(config_of(client={"batch_size": size})).chunk for size in (16, 4096)
    )
    assert small > large >= 1
    assert choose_learner(config_of(), device="cuda").chunk >= small
