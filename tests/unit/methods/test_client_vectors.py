"""Vectors that clients keep: FedSA-LoRA's B and decoded values, in memory and in checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from floss_sim import RunConfig, RunFolder, load_profile, load_task, open_learner, run
from floss_sim.methods import (
    ClientVectors,
    Method,
    PrivateEntries,
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
    private = PrivateEntries(LAYOUT, ("lora_B",))
    shared_N = vector(1, 2, 0, 0)
    assert private.start(7, shared_N) is shared_N
    state = private.train(3, vector(5, 6, 7, 8))
    assert state["private"].tolist() == [0, 0, 7, 8]
    assert private.start(7, shared_N) is shared_N
    private.finish(7, 3)
    assert private.start(7, shared_N).tolist() == [1, 2, 7, 8]
    assert private.with_mean(shared_N).tolist() == [1, 2, 7, 8]
    private.hear(2, {"private": vector(0, 0, 1, 2)})
    assert private.with_mean(shared_N).tolist() == [1, 2, 4, 5]


def test_nothing_is_kept_where_there_is_nothing_of_the_kind():
    private, held = PrivateEntries(LAYOUT, ()), ClientVectors("held", active=False)
    assert private.train(1, vector(1, 2, 3, 4)) == held.keep(1, vector(1, 2, 3, 4)) == {}
    private.finish(0, 1)
    assert private.vector(0) is None


def layout_of_digits() -> Layout:
    return RunConfig.of(load_task("digits"), fedsa_lora(), rank=2).layout


def in_one_go_and_continued(method: Method, root: Path) -> tuple[RunFolder, RunFolder]:
    """Return a run, and the same run continued by another learner, with clients in flight."""
    config = RunConfig.of(load_task("digits"), method, rank=2)
    config = config.with_(fleet={"clients": 8, "law": "iid"}, server={"cohort": 4})
    network, policy = load_profile("lte"), buffered(2)

    def train(path: Path, *stops: int) -> RunFolder:
        for rounds in stops:
            learner = open_learner(config, "cpu")
            shaped = config.description(learner.identity, conditions(network, policy))
            folder = RunFolder.open(path, shaped)
            run(config, network, learner, rounds=rounds, policy=policy, folder=folder, eval_every=3)
        return folder

    return train(root / "whole", ROUNDS), train(root / "parts", STOPS, ROUNDS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunFolder]:
    """Runs whose clients keep B."""
    return in_one_go_and_continued(fedsa_lora(up_density=1 / 2), tmp_path_factory.mktemp("own"))


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


def test_a_continued_run_with_private_entries_is_the_same_to_the_bit(runs):
    assert is_the_same(*runs, "private")


def test_a_continued_run_in_turns_with_a_ledger_is_the_same_to_the_bit(tmp_path: Path):
    method = method_from_name("rolora", up_density=1 / 4, error_feedback=True, change_ledger=True)
    assert is_the_same(*in_one_go_and_continued(method, tmp_path), "held")


def test_the_measured_model_has_the_mean_of_the_clients_b(runs):
    whole, _ = runs
    layout = layout_of_digits()
    model_N, _ = decode(layout, whole.model(ROUNDS))
    snapshot = whole.snapshot()
    own = [state["private"] for state in snapshot.clients.values()]
    assert len({row.tobytes() for row in own}) == len(own) > 4
    for tensor in layout.tensors:
        where = layout.slices[tensor.name]
        if tensor.kind == "lora_B":
            assert np.allclose(model_N[where], np.mean([row[where] for row in own], axis=0))
            assert not snapshot.tensors["P"][where].any()  # the server never sees it
        else:
            assert np.array_equal(model_N[where], snapshot.tensors["P"][where])
            assert not any(row[where].any() for row in own)


def test_b_never_travels(runs):
    whole, _ = runs
    shared = sum(t.size for t in layout_of_digits().tensors if t.kind != "lora_B")
    sent = whole.record().transfers.to_pandas()
    assert (sent.entries[sent.direction == "down"] <= shared).all()
    assert (sent.entries[sent.direction == "up"] <= shared // 2).all()
