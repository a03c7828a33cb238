"""The exported app trains what the simulator trains, from the messages of fake nodes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from exported_apps import CLIENTS, COHORT, ROUNDS, read_config, small_config
from flower_stand_ins import Context, Grid, Message

from floss_sim import RunFolder, load_profile, open_learner, retime, run
from floss_sim.analysis.recorded_privacy import recorded_privacy
from floss_sim.errors import ConfigError
from floss_sim.methods import (
    DifferentialPrivacy,
    Method,
    adapter_lth,
    dense,
    floss,
    method_from_name,
)
from floss_sim.protocol import Arrival
from floss_sim.records.measured_clock import measured_by

METHODS = {
    "floss": floss(1 / 4, 1 / 16),
    "dense": dense(),
    "ffa": method_from_name("ffa", up_density=1 / 4),
    "error feedback": method_from_name("floss", up_density=1 / 16, error_feedback=True),
    "int8, noise by the server": method_from_name(
        "floss",
        down_values="int8",
        up_values="int8",
        privacy=DifferentialPrivacy(0.1, 2.0, "server"),
    ),
    "hetlora": method_from_name("hetlora", tiers="1:2,1:1"),
    "ravan": method_from_name("ravan", heads=2, up_density=1 / 2),
    "change ledger": method_from_name("rolora", up_density=1 / 2, change_ledger=True),
    "fslora": method_from_name("fslora", density=1 / 2),
    "fedsrd": method_from_name("fedsrd", down_density=1 / 2),
    "fedsvd": method_from_name("fedsvd"),
    "flora": method_from_name("flora"),
    "fedex-lora": method_from_name("fedex-lora", down_values="int8", error_feedback=True),
    "fedkseed": method_from_name("fedkseed", seeds=16, steps=3),
    "adapter-lth": adapter_lth(0.5),
    "noise of a sum": method_from_name("ffa", privacy=DifferentialPrivacy(0.1, 2.0)),
}
SEEN = ["round", "version", "reports", "down_bytes", "up_bytes", "wasted_bytes", "accuracy", "loss",
        "dense_accuracy", "dense_loss"]  # fmt: skip
SENT = ["sequence", "round", "client", "direction", "version", "nbytes", "entries", "examples",
        "sent_bytes", "fate"]  # fmt: skip


def _sorted(transfers: pa.Table) -> pa.Table:
    keys = [("sequence", "ascending"), ("direction", "ascending")]
    return transfers.select(SENT).sort_by(keys)


OWN = ["own_accuracy", "own_loss"]


@pytest.mark.parametrize("name", METHODS)
def test_its_curve_is_that_of_the_sequential_learner_bit_for_bit(
    name: str, run_app, tmp_path: Path
):
    config = small_config(METHODS[name])
    grid = run_app(config)
    found = RunFolder.read(tmp_path / "record").record()
    learner = open_learner(config, "cpu", 1, "sequential")
    wanted = run(config, load_profile("lte"), learner, rounds=ROUNDS, eval_every=1)
    assert found.rounds.select(SEEN).equals(wanted.rounds.select(SEEN))
    assert _sorted(found.transfers).equals(_sorted(wanted.transfers))
    server, learned = RunFolder.read(tmp_path / "record").snapshot().tensors, learner.snapshot()
    np.testing.assert_array_equal(server["P"], learned.tensors["P"])
    payloads = [len(m.content["upload"]["payload"]) for m in grid.received if "upload" in m.content]
    assert sum(payloads) == sum(wanted.rounds["up_bytes"].to_pylist())


def test_noise_comes_from_the_system_unless_the_simulators_is_asked_for(
    run_app, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    config = small_config(METHODS["noise of a sum"])
    grid = run_app(config, noise="system")
    assert read_config(tmp_path / "app")["noise"] == "system"
    folder = RunFolder.read(tmp_path / "record")
    told = folder.description["trajectory"]["method"]["privacy"]
    assert told["source"] == "system" and "protects nobody" not in caplog.text
    found = recorded_privacy(folder.record())
    assert not found.sampled and not found.sums_only
    first = next(m.content["download"] for m in grid.sent if "download" in m.content)
    learner = open_learner(config, "cpu", 1, "sequential")
    dispatch = learner.dispatch(first["client"], first["sequence"])
    sent = next(m.content["upload"]["payload"] for m in grid.received if "upload" in m.content)
    seeded_N, sent_N = (
        learner.decoded_upload(dispatch, blob) for blob in (learner.train(dispatch, {}).blob, sent)
    )
    both = 2**0.5 * (0.1 * 2.0) / COHORT**0.5  # the deviation of two independent shares of noise
    assert (sent_N - seeded_N)[sent_N != 0].std() == pytest.approx(both, rel=0.2)


@pytest.mark.parametrize(
    "method",
    [method_from_name("fedsa-lora"), method_from_name("feddpa", private_rank=1, up_density=1 / 2)],
    ids=lambda method: method.name,
)
def test_nodes_measure_their_own_models_as_the_simulator_does(
    method: Method, run_app, tmp_path: Path
):
    config = small_config(method, law="dirichlet")
    grid = run_app(config)
    folder = RunFolder.read(tmp_path / "record")
    found, shared = folder.record(), SEEN
    if method.private.averaged:  # the server lacks what the simulator's global model averages
        shared = [name for name in SEEN if "accuracy" not in name and "loss" not in name]
    learner = open_learner(config, "cpu", 1, "sequential")
    wanted = run(config, load_profile("lte"), learner, rounds=ROUNDS, eval_every=1)
    assert found.rounds.select(shared).equals(wanted.rounds.select(shared))
    assert _sorted(found.transfers).equals(_sorted(wanted.transfers))
    np.testing.assert_array_equal(folder.snapshot().tensors["P"], learner.snapshot().tensors["P"])
    for name in OWN:
        own = found.rounds[name].to_pylist()
        np.testing.assert_allclose(own, wanted.rounds[name].to_pylist(), atol=1e-6)
    said = [m.content["own"].keys() for m in grid.received if "own" in m.content]
    assert said == [{"accuracy", "loss"}] * (ROUNDS * CLIENTS)


def test_its_record_is_measured_from_zero_and_is_timed_again_from_its_bytes(floss_run):
    config = small_config(floss(1 / 4, 1 / 16))
    folder = RunFolder.read(floss_run.folder / "record")
    record = folder.record()
    assert measured_by(folder.description) == "flwr 1.42.0"
    assert "clock" not in folder.description["trajectory"]
    opened, closed = (record.rounds[f"{name}_at_s"].to_pylist() for name in ("opened", "closed"))
    assert opened[0] == 0 and opened == sorted(opened)
    assert all(begin <= end for begin, end in zip(opened, closed, strict=True))
    learner = open_learner(config, "cpu", 1, "sequential")
    wanted = run(config, load_profile("lte"), learner, rounds=ROUNDS, eval_every=1)
    again = retime(record, load_profile("lte"))
    assert again.rounds.equals(wanted.rounds)
    assert again.transfers.equals(wanted.transfers)
    assert measured_by(again.description) is None


def test_nothing_but_the_update_and_the_number_of_examples_leaves_a_node(floss_run):
    grid = floss_run.grid
    trained = [m.content for m in grid.received if "upload" in m.content]
    assert len(trained) == ROUNDS * COHORT
    for content in trained:
        assert content.keys() == {"upload"} and content["upload"].keys() == {"payload", "examples"}
    others = [m.content for m in grid.received if "upload" not in m.content]
    assert [set(c) for c in others] == [{"node"}] * CLIENTS
    assert all(c["node"].keys() == {"partition"} for c in others)


def test_the_bank_computes_the_same_round_to_float_tolerance():
    config = small_config(floss(1 / 4, 1 / 16))
    bank = open_learner(config, "cpu", 1, "bank")
    sequential = open_learner(config, "cpu", 1, "sequential")
    for number in range(2):
        bank.restore(sequential.snapshot())
        found = []
        for learner in (bank, sequential):
            asked = [learner.dispatch(c, COHORT * number + c) for c in range(COHORT)]
            arrivals = [Arrival(d, learner.train(d, {}), 1 / COHORT, 0) for d in asked]
            learner.aggregate(arrivals)
            found.append(learner.snapshot().tensors["P"])
        # Adam divides by the root of v: the smallest differences of g are not the smallest of P.
        np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def test_an_upload_that_was_lost_goes_back_to_the_residual(run_app, tmp_path: Path):
    config = small_config(METHODS["error feedback"])
    lost: list[int] = []

    def lose_first(replies: list[Message]) -> list[Message]:
        if lost or "upload" not in replies[0].content:
            return replies
        lost.append(replies[0].metadata.src_node_id)
        return replies[1:]

    grid = run_app(config, arrange=lose_first)
    record = RunFolder.read(tmp_path / "record").record()
    fates = record.transfers["fate"].to_pylist()
    assert fates.count("dropped") == 1 and record.rounds["reports"].to_pylist() == [2, 3, 3]
    told = {m.metadata.dst_node_id: m.content["download"]["heard"] for m in grid.sent
            if m.metadata.message_type == "train" and m.group_id == "2"}  # fmt: skip
    if lost[0] in told:
        assert told[lost[0]] == -1
    state = grid.contexts[lost[0]].state
    with pytest.raises(ConfigError, match="missing or refused"):
        retime(record, load_profile("lte"))
    assert {"both", "arrived", "lost", "last"} == state.keys() and not state["both"]
    for kept in ("arrived", "lost"):
        assert state[kept].keys() == {"residual"}


class _Restarting(Grid):
    """Nodes that are restarted after each upload: Flower gives them other ids, and no state."""

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float) -> list[Message]:
        replies = super().send_and_receive(messages, timeout=timeout)
        for node in [m.metadata.src_node_id for m in replies if "upload" in m.content]:
            old = self.contexts.pop(node)
            self.contexts[node + 1000] = Context(old.node_config, old.run_config)
        return replies


def test_a_node_that_is_restarted_is_found_again_and_gets_a_whole_download(run_app, tmp_path: Path):
    config = small_config(METHODS["flora"])
    grid = run_app(config, make_grid=_Restarting)
    assert max(grid.contexts) > 2000  # restarted twice
    folder = RunFolder.read(tmp_path / "record")
    learner = open_learner(config, "cpu", 1, "sequential")
    wanted = run(config, load_profile("lte"), learner, rounds=ROUNDS, eval_every=1)
    same = [name for name in SEEN if name != "down_bytes"]
    assert folder.record().rounds.select(same).equals(wanted.rounds.select(same))
    np.testing.assert_array_equal(folder.snapshot().tensors["P"], learner.snapshot().tensors["P"])


def test_a_node_keeps_the_state_that_the_server_says(floss_run, caplog):
    from flower_stand_ins import RecordDict

    state = RecordDict()
    functions = floss_run.grid.client_app.functions["train"].__globals__
    one, same = np.float32([1, 2]), np.float32([5])
    keep, kept = functions["keep_states"], functions["kept_state"]
    keep(state, 5, {"residual": one, "held": same}, {"residual": 3 * one, "held": same})
    assert [list(state[place]) for place in ("both", "arrived", "lost")] == [
        ["held"], ["residual"], ["residual"],
    ]  # fmt: skip
    for heard, factor in ((5, 1), (2, 3)):
        found = kept(state, heard)
        assert found["residual"].tolist() == [factor, 2 * factor] and found["held"] == same
    assert kept(RecordDict(), -1) == {} and not caplog.text
    assert kept(RecordDict(), 4) == {} and "is lost: it begins anew" in caplog.text
