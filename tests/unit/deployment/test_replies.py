"""A server refuses what is no update of its run, and goes on."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from exported_apps import COHORT, reply_of, small_config

from floss_sim import RunFolder, open_learner
from floss_sim.deployment import NodeRun, Reply, export_app, open_server, read_run_file
from floss_sim.deployment.reply_checks import (
    MOST_VALUE,
    check_own_metrics,
    check_reply,
    most_payload_bytes,
)
from floss_sim.errors import ConfigError, MissingStateError, PayloadError
from floss_sim.methods import Method, dense, floss, method_from_name
from floss_sim.protocol import ClientState
from floss_sim.vectors.top_k import top_k_mask
from floss_sim.wire import encode

UP = 1 / 16


@pytest.fixture(scope="module")
def opened():
    """Return a learner, a dispatch of it, and the valid upload of that dispatch."""
    learner = open_learner(small_config(floss(1 / 4, UP)), "cpu", 1, "sequential")
    dispatch = learner.dispatch(0, 0)
    return SimpleNamespace(learner=learner, dispatch=dispatch, upload=learner.train(dispatch, {}))


def _encoded(learner, value: float, density: float = UP) -> bytes:
    """Return an update that encodes like a client's, with one value; NaN is written afterwards."""
    entries = learner.layout.entries
    values = np.linspace(1, 2, entries, dtype=np.float32)
    mask = top_k_mask(values, int(density * entries))
    if np.isfinite(value):
        values[mask.nonzero()[0][0]] = value
        return encode(learner.layout, values, mask)
    mask = np.arange(entries) == 0  # a single value, which is written as it is
    blob = encode(learner.layout, values, mask)[:-8] + struct.pack("<f", value)
    return blob + struct.pack("<I", zlib.crc32(blob))


def test_a_valid_reply_is_an_upload(opened):
    found = check_reply(opened.learner, opened.dispatch, opened.upload.blob, 25)
    assert found.entries == opened.upload.entries and found.nbytes == len(opened.upload.blob)
    assert check_reply(opened.learner, opened.dispatch, _encoded(opened.learner, 2.0), 1)


@pytest.mark.parametrize(
    ("payload", "examples", "said"),
    [
        ("text", 1, "not bytes"),
        (None, 1, "not bytes"),
        (b"", 1, "message"),
        (bytes(10), True, "examples"),
        (bytes(10), 0, "examples"),
        (bytes(10), 2**40, "examples"),
        (bytes(10), 1.5, "examples"),
    ],
)
def test_other_types_are_refused(opened, payload, examples, said: str):
    with pytest.raises(PayloadError, match=said):
        check_reply(opened.learner, opened.dispatch, payload, examples)


def test_large_messages_many_entries_and_large_values_are_refused(opened):
    learner, dispatch = opened.learner, opened.dispatch
    most = most_payload_bytes(learner.layout.entries)
    with pytest.raises(PayloadError, match=f"at most {most}"):
        check_reply(learner, dispatch, opened.upload.blob + bytes(most), 1)
    with pytest.raises(PayloadError, match="entries; the method sends at most"):
        check_reply(learner, dispatch, _encoded(learner, 2.0, density=1 / 2), 1)
    for value in (2 * MOST_VALUE, float("nan"), float("inf"), -float("inf")):
        with pytest.raises(PayloadError):
            check_reply(learner, dispatch, _encoded(learner, value), 1)


def test_the_largest_values_that_pass_do_not_overflow_the_servers_step(tmp_path: Path):
    app = export_app(small_config(floss(1, UP)), tmp_path / "app", task="digits", rounds=3)
    run = read_run_file(app / "floss_app" / "run.json")
    with open_server(run, tmp_path / "record", "test 1") as server:
        blob = _encoded(open_learner(run.config, "cpu", 1, "sequential"), MOST_VALUE)
        for number in range(1, 4):
            replies = {
                d.client: {"payload": blob, "examples": 1} for d in server.open_round(range(4))
            }
            assert server.close_round(replies).round == number


def test_no_dense_message_is_larger_than_the_limit(opened):
    learner = opened.learner
    values = np.random.default_rng(0).normal(size=learner.layout.entries).astype(np.float32)
    for density in (1.0, 0.5, 0.1):
        mask = np.random.default_rng(1).random(values.size) < density
        assert len(encode(learner.layout, values, mask)) < most_payload_bytes(values.size)


def test_a_thousand_broken_replies_stop_neither_the_round_nor_the_run(tmp_path: Path):
    draw = random.Random(0)
    config = small_config(floss(1 / 4, UP))
    app = export_app(config, tmp_path / "app", task="digits", rounds=2)
    run = read_run_file(app / "floss_app" / "run.json")
    other = open_learner(small_config(dense()), "cpu", 1, "sequential")
    with open_server(run, tmp_path / "record", "test 1") as server:
        node = NodeRun.open(app / "floss_app" / "run.json")
        dispatches = server.open_round(range(4))
        uploads = [node.train(d, {}) for d in dispatches]
        good = uploads[0].blob
        for _ in range(1000 // (COHORT - 1)):
            broken = {d.client: _reply(_break(good, draw)) for d in dispatches[1:]}
            if draw.random() < 0.01:
                broken[dispatches[1].client] = _reply(other.dispatch(0, 0).blob)
            closed = server.close_round({**broken, dispatches[0].client: "broken"})
            assert closed.round == 0 and len(closed.refused) == COHORT
            dispatches = server.open_round(range(4))
        uploads = [node.train(d, {}) for d in dispatches]
        closed = server.close_round(
            {u.client: reply_of(u) for u in uploads[:2]}
            | {uploads[2].client: _reply(_break(good, draw))}
        )
        assert closed.round == 1 and list(closed.refused) == [uploads[2].client]


def _reply(blob: bytes) -> Reply:
    return {"payload": blob, "examples": 1}


def _break(blob: bytes, draw: random.Random) -> bytes:
    """Return a message with a flipped bit, cut short, or of random bytes."""
    kind = draw.randrange(3)
    if kind == 0:
        place = draw.randrange(len(blob))
        return blob[:place] + bytes([blob[place] ^ 1 << draw.randrange(8)]) + blob[place + 1 :]
    if kind == 1:
        return blob[: draw.randrange(len(blob))]
    return draw.randbytes(draw.randrange(2 * len(blob)))


def test_fewer_clients_than_the_cohort_are_refused_and_others_fill_a_gap(tmp_path: Path):
    app = export_app(small_config(dense()), tmp_path / "app", task="digits", rounds=2)
    run = read_run_file(app / "floss_app" / "run.json")
    with open_server(run, tmp_path / "record", "test 1") as server:
        assert {d.client for d in server.open_round({0, 2, 3})} == {0, 2, 3}
        with pytest.raises(ConfigError, match="2 clients are connected; the cohort needs 3"):
            server.open_round({0, 2})


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (method_from_name("fedex-lora"), "a client of version 0 got changes from 2 on"),
        (method_from_name("rolora", change_ledger=True), "changes since version 1, which is lost"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_node_that_has_lost_its_state_says_so_and_gets_a_whole_download(
    tmp_path: Path, method: Method, said: str
):
    app = export_app(small_config(method), tmp_path / "app", task="digits", rounds=4)
    run = app / "floss_app" / "run.json"
    node, states = NodeRun.open(run), dict[int, ClientState]()
    with open_server(read_run_file(run), tmp_path / "record", "test 1") as server:
        for number in range(1, 5):
            replies = {}
            for sent in server.open_round(range(COHORT)):
                if (number, sent.client) == (3, 0):
                    with pytest.raises(MissingStateError, match=said):
                        node.train(sent, {})
                    replies[0] = {"lacks": True}
                    continue
                upload = node.train(sent, states.get(sent.client, {}))
                if (number, sent.client) == (4, 0):
                    assert sent.held == 0 and node.train(sent, {}).blob == upload.blob
                states[sent.client] = upload.client_state
                replies[sent.client] = reply_of(upload)
            refused = server.close_round(replies).refused
            lost = "it has lost what it held; its next download is whole"
            assert refused == ({0: lost} if number == 3 else {})


@pytest.mark.parametrize(
    ("accuracy", "loss", "said"),
    [
        (None, 1.0, "own accuracy"), (1, 1.0, "own accuracy"), (1.5, 1.0, "own accuracy"),
        (float("nan"), 1.0, "own accuracy"), (0.5, float("inf"), "own loss"),
        (0.5, -1.0, "own loss"), (0.5, "1", "own loss"),
    ],
)  # fmt: skip
def test_own_metrics_out_of_range_are_refused(accuracy, loss, said: str):
    with pytest.raises(PayloadError, match=said):
        check_own_metrics(accuracy, loss)


def test_own_models_are_the_mean_over_the_nodes_that_measured_them(tmp_path: Path):
    app = export_app(small_config(method_from_name("feddpa")), tmp_path / "app", task="digits",
                     rounds=2, eval_every=1)  # fmt: skip
    run = app / "floss_app" / "run.json"
    node = NodeRun.open(run)
    with open_server(read_run_file(run), tmp_path / "record", "test 1") as server:
        for number in (1, 2):
            uploads = [node.train(sent, {}) for sent in server.open_round(range(4))]
            assert server.close_round({u.client: reply_of(u) for u in uploads}).round == number
            asked = server.open_evaluation(range(4))
            assert [d.client for d in asked] == [0, 1, 2, 3]
            if number == 2:  # nobody tells of round 1
                good = {"accuracy": 0.5, "loss": 1.0}
                answers = {0: good, 1: {"accuracy": 0.25, "loss": 3.0}, 2: {**good, "loss": None}}
                closed = server.close_evaluation(answers)
                assert closed.metrics == {"own-accuracy": 0.375, "own-loss": 2.0, "clients": 2}
                assert closed.refused == {
                    2: "the own loss is no finite number from 0", 3: "no reply in time"
                }  # fmt: skip
        node.evaluate(asked[0], {}, str(tmp_path / "own"))
        adapter = server.finish()
    assert (tmp_path / "own" / "adapter_model.safetensors").exists()
    assert "| own accuracy | 0.375" in (adapter / "README.md").read_text(encoding="utf-8")
    rounds = RunFolder.read(tmp_path / "record").record().rounds
    assert rounds["own_accuracy"].to_pylist() == [None, 0.375]
