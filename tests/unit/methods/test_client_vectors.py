"""Vectors that clients keep: FedSA-LoRA's B and decoded values, in memory and in checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from floss_sim import RunConfig, RunFolder, load_profile, load_task, open_learner, run
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.methods import (
    ClientVectors,
    Method,
    PrivateEntries,
    PrivateKinds,
    PrivateRanks,
    feddpa,
    fedsa_lora,
    method_from_name,
)
from floss_sim.runs.conditions import conditions
from floss_sim.simulator import buffered
from floss_sim.vectors.layout import Layout, TensorSpec
from floss_sim.wire import decode

LAYOUT = Layout(
    (TensorSpec("x.lora_A", (1, 2), "lora_A"), TensorSpec("x.lora_B", (2, 1), "lora_B"))
)
ROUNDS, STOPS = 6, 3


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_a_client_starts_from_its_own_b_once_its_dispatch_is_over():
    private = PrivateEntries(LAYOUT, PrivateKinds(("lora_B",)), vector(8, 8, 0, 3))
    shared_N = vector(1, 2, 0, 0)
    assert private.start(7, shared_N).tolist() == [1, 2, 0, 3]
    state = private.train(vector(5, 6, 7, 8))
    assert state["private"].tolist() == [0, 0, 7, 8]
    assert private.start(7, shared_N).tolist() == [1, 2, 0, 3]
    assert private.with_global(shared_N).tolist() == [1, 2, 0, 3]
    private.hear(7, state)
    assert private.start(7, shared_N).tolist() == [1, 2, 7, 8]
    assert private.with_global(shared_N).tolist() == [1, 2, 7, 8]
    private.hear(2, {"private": vector(0, 0, 1, 2)})
    assert private.with_global(shared_N).tolist() == [1, 2, 4, 5]
    assert private.shared_start(shared_N).tolist() == [1, 2, 0, 3]


def test_private_ranks_are_the_last_ones_and_never_part_of_the_global_model():
    layout = Layout(
        (TensorSpec("x.lora_A", (3, 2), "lora_A"), TensorSpec("x.lora_B", (2, 3), "lora_B"))
    )
    part, initial_N = PrivateRanks(1), np.arange(12, dtype=np.float32)
    marks = [[0, 0], [0, 0], [1, 1]], [[0, 0, 1], [0, 0, 1]]
    assert part.mask(layout).tolist() == np.concatenate([np.ravel(m) for m in marks]).tolist()
    assert PrivateRanks().adapters(AdapterSettings(4)) == AdapterSettings(8, alpha=32.0)
    private = PrivateEntries(layout, part, initial_N)
    private.hear(0, {"private": np.full(12, 50, np.float32)})
    shared_N = np.full(12, 9, np.float32)
    assert (
        private.with_global(shared_N).tolist() == np.where(part.mask(layout), initial_N, 9).tolist()
    )
    assert private.start(0, shared_N)[part.mask(layout)].tolist() == [50] * 4


def test_nothing_is_kept_where_there_is_nothing_of_the_kind():
    private, held = (
        PrivateEntries(LAYOUT, None, vector(0, 0, 0, 0)),
        ClientVectors("held", active=False),
    )
    assert private.train(vector(1, 2, 3, 4)) == held.keep(vector(1, 2, 3, 4)) == {}
    private.hear(0, {})
    assert private.vector(0) is None


def layout_of_digits(method: Method) -> Layout:
    return RunConfig.of(load_task("digits"), method, rank=2).layout


def in_one_go_and_continued(method: Method, root: Path) -> tuple[RunFolder, RunFolder]:
    """Return a run, and the same run continued by another learner, with clients in flight."""
    config = RunConfig.of(load_task("digits"), method, rank=2)
    config = config.with_(fleet={"clients": 32}, server={"cohort": 4})
    network, policy = load_profile("lte"), buffered(2)

    def train(path: Path, *stops: int) -> RunFolder:
        for rounds in stops:
            learner = open_learner(config, "cpu")
            shaped = config.description(learner.identity, conditions(network, policy))
            folder = RunFolder.open(path, shaped)
            run(config, network, learner, rounds=rounds, policy=policy, folder=folder, eval_every=3)
        return folder

    return train(root / "whole", ROUNDS), train(root / "parts", STOPS, ROUNDS)


Runs = tuple[Method, tuple[RunFolder, RunFolder]]


@pytest.fixture(
    scope="module", params=[fedsa_lora(up_density=1 / 2), feddpa(1)], ids=["B", "ranks"]
)
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Runs whose clients keep B, or a second adapter."""
    folder = tmp_path_factory.mktemp("own")
    return request.param, in_one_go_and_continued(request.param, folder)


def is_the_same(whole: RunFolder, parts: RunFolder, name: str) -> bool:
    """Whether records, models and the clients' vectors are equal, and clients were in flight."""
    ours, theirs = parts.snapshot().clients, whole.snapshot().clients
    return (
        parts.record().rounds.equals(whole.record().rounds)
        and parts.record().transfers.equals(whole.record().transfers)
        and parts.model(ROUNDS) == whole.model(ROUNDS)
        and ours.keys() == theirs.keys()
        and all(np.array_equal(ours[c][name], theirs[c][name]) for c in ours)
        and bool(parts.snapshot().in_flight)
    )


def test_a_continued_run_with_private_entries_is_the_same_to_the_bit(runs: Runs):
    _, (whole, parts) = runs
    assert is_the_same(whole, parts, "private")
    assert None not in whole.record().evaluated()["own_accuracy"].to_pylist()


def test_a_continued_run_in_turns_with_a_ledger_is_the_same_to_the_bit(tmp_path: Path):
    method = method_from_name("rolora", up_density=1 / 4, error_feedback=True, change_ledger=True)
    assert is_the_same(*in_one_go_and_continued(method, tmp_path), "held")


def test_the_measured_model_has_the_mean_of_the_clients_b_or_the_shared_adapter_alone(runs: Runs):
    method, (whole, _) = runs
    layout = layout_of_digits(method)
    model_N, _ = decode(layout, whole.model(ROUNDS))
    snapshot = whole.snapshot()
    own = [state["private"] for state in snapshot.clients.values()]
    assert len({row.tobytes() for row in own}) == len(own) > 4
    private_N = method.private.mask(layout)
    expected_N = np.mean(own, axis=0) if method.private.averaged else layout.initial_vector(0)
    assert np.allclose(model_N[private_N], expected_N[private_N])
    server_N = snapshot.tensors["P"]  # it never sees private entries
    assert np.array_equal(server_N[private_N], layout.initial_vector(0)[private_N])
    assert np.array_equal(model_N[~private_N], server_N[~private_N])
    assert not any(row[~private_N].any() for row in own)


def test_private_entries_never_travel(runs: Runs):
    method, (whole, _) = runs
    layout = layout_of_digits(method)
    shared = np.count_nonzero(~method.private.mask(layout))
    sent = whole.record().transfers.to_pandas()
    assert (sent.entries[sent.direction == "down"] <= shared).all()
    up = method.tiers[0].upload.density
    assert (sent.entries[sent.direction == "up"] <= up * shared).all()
