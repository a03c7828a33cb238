"""Clipping and noise: against plain reckoning, and what must not change or leak."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from floss_sim import RunConfig, RunFolder, load_task, run
from floss_sim.errors import ConfigError
from floss_sim.methods import METHODS, DifferentialPrivacy, Exchange, method_from_name
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.runs.conditions import check_conditions
from floss_sim.simulator import buffered
from floss_sim.training import open_learner
from floss_sim.vectors.layout import Layout

LAYOUT = RunConfig.of(load_task("digits"), method_from_name("dense"), rank=2).layout
NOTHING = DifferentialPrivacy(math.inf, 0.0, "local")


def normal(layout: Layout, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(layout.entries).astype(np.float32)


def reply(exchange: Exchange, update_N: np.ndarray, client: int = 1, state=None, trained_N=None):
    start_N = normal(exchange.layout, 99)
    return exchange.upload(update_N, 0, client, 7, trained_N, state or {}, start_N=start_N)


def sent(exchange: Exchange, update_N: np.ndarray, client: int = 1) -> np.ndarray:
    known_N = exchange.known_upload_mask(0, client, 7, None)
    return exchange.decode_upload(reply(exchange, update_N, client).blob, known_N)


@pytest.mark.parametrize("name", METHODS)
def test_without_clip_and_noise_every_upload_has_the_same_bits(name: str):
    keeps = name not in ("flexlora", "fedsvd", "flora")  # whose servers change bases or restart
    plain = method_from_name(name, error_feedback=keeps, up_values="int8")
    config = RunConfig.of(load_task("digits"), plain, rank=4)
    update_N = normal(config.layout, 0)
    kept = {"residual": normal(config.layout, 1)} if keeps else {}
    one, other = (
        reply(Exchange(replace(plain, privacy=privacy), config.layout, 3, 10), update_N, state=kept)
        for privacy in (None, NOTHING)
    )
    assert one.blob == other.blob
    for states in ((one.state, other.state), (one.lost_state, other.lost_state)):
        assert len(states[0]) == keeps
        assert all(np.array_equal(states[0][part], states[1][part]) for part in states[0])


@pytest.mark.parametrize("trust", ["sum", "server", "local"])
def test_a_longer_update_is_scaled_down_to_the_clip_and_a_shorter_one_is_not(trust: str):
    update_N = normal(LAYOUT, 0)
    length = float(np.linalg.norm(update_N))
    for clip in (0.5, 2 * length):
        method = method_from_name("dense", privacy=DifferentialPrivacy(clip, 0.0, trust))
        expected_N = update_N * min(1.0, clip / length)
        assert sent(Exchange(method, LAYOUT, 0, 10), update_N) == pytest.approx(
            expected_N, abs=1e-7
        )


def test_only_what_travels_is_measured_and_has_noise():
    """FedSA-LoRA's B stays with the client, however long it is."""
    method = method_from_name("fedsa-lora", privacy=DifferentialPrivacy(1.0, 0.1, "sum"))
    is_b_N = np.repeat([t.name.endswith("B") for t in LAYOUT.tensors], LAYOUT.tensor_sizes)
    update_N = np.where(is_b_N, 1e3, normal(LAYOUT, 0)).astype(np.float32)
    exchange = Exchange(method, LAYOUT, 0, 4)
    decoded_N = sent(exchange, update_N)
    assert not decoded_N[is_b_N].any()
    noise_N = decoded_N - update_N / np.linalg.norm(update_N[~is_b_N])
    assert noise_N[~is_b_N].std() == pytest.approx(0.1 / 2, rel=0.05)
    by_server = replace(method, privacy=DifferentialPrivacy(1.0, 0.1, "server"))
    nothing_N = np.zeros(LAYOUT.entries, np.float32)
    drawn_N = Exchange(by_server, LAYOUT, 0, 4).with_server_noise(nothing_N, 3, 4)
    assert not drawn_N[is_b_N].any()
    assert drawn_N[~is_b_N].all()


@pytest.mark.parametrize(
    ("trust", "reports", "expected"),
    [("sum", 10, 3.0), ("sum", 5, 3.0 / 2**0.5), ("local", 10, 3.0 * 10**0.5), ("server", 10, 3.0)],
)
def test_the_noise_of_a_sum_is_the_multiplier_times_the_clip(trust, reports: int, expected: float):
    """Clip 2, multiplier 1.5; if half of ten clients report, half of the variance is missing."""
    method = method_from_name("dense", privacy=DifferentialPrivacy(2.0, 1.5, trust))
    exchange, nothing_N = Exchange(method, LAYOUT, 0, 10), np.zeros(LAYOUT.entries, np.float32)
    sum_N = np.sum([sent(exchange, nothing_N, client) for client in range(reports)], axis=0)
    assert sum_N.any() == (trust != "server")
    sum_N = reports * exchange.with_server_noise(sum_N / np.float32(reports), 0, reports)
    error = 4 * expected / (2 * LAYOUT.entries) ** 0.5  # four standard errors of a deviation
    assert sum_N.std() == pytest.approx(expected, abs=error)
    assert sum_N.mean() == pytest.approx(0, abs=4 * expected / LAYOUT.entries**0.5)


def test_a_mask_is_chosen_by_the_noisy_values():
    method = method_from_name("floss", up_density=1 / 8, privacy=DifferentialPrivacy(1, 1, "local"))
    update_N, exchange = normal(LAYOUT, 0), Exchange(method, LAYOUT, 0, 10)
    whole_N = sent(
        replace(exchange, method=replace(method, tiers=method_from_name("dense").tiers)), update_N
    )
    decoded_N = sent(exchange, update_N)
    kept_N = decoded_N != 0
    assert np.array_equal(decoded_N[kept_N], whole_N[kept_N])
    assert np.abs(whole_N[~kept_N]).max() <= np.abs(whole_N[kept_N]).min()


def test_a_residual_has_no_noise_and_is_no_longer_than_the_clip():
    method = method_from_name(
        "floss", up_density=1 / 8, error_feedback=True, privacy=DifferentialPrivacy(1, 5, "local")
    )
    update_N = normal(LAYOUT, 0)
    made = reply(Exchange(method, LAYOUT, 0, 10), update_N, state={"residual": update_N})
    residual_N = made.state["residual"]
    where_N = residual_N != 0
    assert residual_N[where_N] == pytest.approx((update_N / np.linalg.norm(update_N))[where_N])
    assert np.linalg.norm(made.lost_state["residual"]) == pytest.approx(1)


def test_the_server_clips_what_rounding_made_longer():
    privacy = DifferentialPrivacy(1.0, 1.0, "server")
    exchange = Exchange(method_from_name("dense", up_values="sign", privacy=privacy), LAYOUT, 0, 10)
    update_N = np.where(np.arange(LAYOUT.entries) < 9, 100, 1e-3).astype(np.float32)
    decoded_N = sent(exchange, update_N)
    assert np.linalg.norm(exchange.received(2 * decoded_N)) <= 1 + 1e-6


@pytest.mark.parametrize(
    ("name", "options", "trust", "said"),
    [
        ("floss", {"up_density": 1 / 4}, "sum", "different entries.*valid here: server or local"),
        ("floss", {"up_density": 1 / 4, "pick": "random"}, "sum", "different entries"),
        ("fslora", {}, "sum", "different entries"),
        ("ecolora", {"up_density": 1, "a_density": 1}, "sum", "different entries"),
        ("fedkseed", {}, "sum", "different entries"),
        ("dense", {"up_values": "int8"}, "sum", "int8 rounds.*valid here: server or local"),
        ("fedsvd", {"down_density": 1 / 4}, "server", "each client's update"),
        ("flexlora", {}, "sum", "each client's update"),
        ("fedsrd", {}, "server", "each client's update.*valid here: local"),
        ("hetlora", {"divisor": "covering"}, "server", "which clients take part"),
    ],
)
def test_a_trust_that_protects_nothing_is_refused(name: str, options, trust, said: str):
    with pytest.raises(ConfigError, match=said):
        method_from_name(name, **options, privacy=DifferentialPrivacy(1.0, 1.0, trust))


@pytest.mark.parametrize(
    "name",
    ["dense", "ffa", "rolora", "freezing", "sparse-adapter", "adapter-lth", "fed-sb", "fedsvd"],
)
def test_methods_whose_clients_send_the_same_entries_take_a_sum(name: str):
    private = method_from_name(name, privacy=DifferentialPrivacy(1.0, 1.0))
    assert private.describe().endswith("clip 1, noise 1 by sum")
    assert private.settings()["privacy"] == {
        "clip": 1.0, "noise": 1.0, "trust": "sum", "delta": 1e-5
    }  # fmt: skip


@pytest.mark.parametrize(
    ("clip", "noise", "said"),
    [(0, 1, "clip 0"), (-1, 1, "clip -1"), (math.nan, 1, "clip nan"), (math.inf, 1, "finite clip"),
     (1e-320, 1, "1e-09 to 1e.09"), (1e308, 1, "clip 1e"), (1, 1e6, "0, or 1e-12 to 100000"),
     (1, 1e-300, "multiplier 1e-300"), (1, -1, "multiplier -1"), (1, math.inf, "multiplier inf"),
     (1, math.nan, "multiplier nan")],
)  # fmt: skip
def test_impossible_values_are_refused(clip: float, noise: float, said: str):
    with pytest.raises(ConfigError, match=said):
        DifferentialPrivacy(clip, noise)


def test_weights_and_policies_that_change_the_noise_are_refused():
    method = method_from_name("dense", privacy=DifferentialPrivacy(1.0, 1.0))
    config = RunConfig.of(load_task("digits"), method, rank=2)
    with pytest.raises(ConfigError, match="weighting uniform"):
        config.with_(server={"weighting": "examples"})
    with pytest.raises(ConfigError, match=r"below 0\.02"):
        replace(
            config, method=method_from_name("dense", privacy=DifferentialPrivacy(1, 1, delta=0.1))
        ).checked()
    with pytest.raises(ConfigError, match="stale updates"):
        check_conditions(config, load_profile("lte"), buffered(2))


@pytest.mark.parametrize("trust", ["server", "local"])
def test_an_interrupted_run_goes_on_bit_for_bit(trust, paper: NetworkProfile, tmp_path: Path):
    privacy = DifferentialPrivacy(0.5, 0.1, trust)
    method = method_from_name("floss", up_density=1 / 4, error_feedback=True, privacy=privacy)
    config = RunConfig.of(load_task("digits"), method, rank=1)
    config = config.with_(fleet={"clients": 40}, server={"cohort": 3})
    whole, halves = (
        RunFolder.open(tmp_path / name, config.description(open_learner(config, "cpu").identity))
        for name in ("whole", "halves")
    )
    run(config, paper, open_learner(config, "cpu"), rounds=4, folder=whole)
    for rounds in (2, 4):
        run(config, paper, open_learner(config, "cpu"), rounds=rounds, folder=halves)
    assert halves.model(4) == whole.model(4)
    assert halves.record().transfers.equals(whole.record().transfers)
