"""Laws of deployment frameworks: bytes, delays and the server's polls."""

from __future__ import annotations

import json

import numpy as np
import pytest

from floss_sim import RunConfig, floss, load_profile, load_task, retime, size_only
from floss_sim.analysis.deployment_settings import deployment_of
from floss_sim.analysis.estimate import estimate
from floss_sim.analysis.round_times import Clock
from floss_sim.analysis.traffic import Traffic
from floss_sim.errors import ProfileError
from floss_sim.network.frameworks.law import framework_names, load_framework
from floss_sim.network.named_changes import profile_of_name, with_change
from floss_sim.network.transport import Transport

NAME = "flower-1.42"


@pytest.mark.parametrize("name", framework_names())
def test_a_law_is_measured_and_plausible(name: str):
    law = load_framework(name)
    assert law.name == name and "experiments/flower" in law.source
    assert 0 < law.down_bytes < 20_000 and 0 < law.up_bytes < 50_000
    assert 0 < law.start < 120


def test_messages_have_the_bytes_of_their_direction():
    law, transport = load_framework(NAME), Transport(framework=NAME)
    assert transport.message_bytes(1000, "down") == 1000 + law.down_bytes
    assert transport.message_bytes(1000, "up") == 1000 + law.up_bytes
    assert transport.setup_rtts == law.round_trips
    with pytest.raises(ValueError, match="framing: not with a framework"):
        Transport(framework=NAME, framing="grpc")
    with pytest.raises(ValueError, match=r"unknown framework 'x'; valid: "):
        Transport(framework="x")


def test_delays_have_the_means_of_their_laws():
    law = load_framework(NAME)
    drawn = np.array([law.delays(0, n) for n in range(4000)])
    waits = (law.node_poll / 2, law.start * np.exp(law.start_sigma**2 / 2), law.node_check / 2)
    errors = drawn.std(axis=0) / np.sqrt(len(drawn))
    assert (np.abs(drawn.mean(axis=0) - waits) < 5 * errors + 1e-12).all()
    assert drawn.sum(axis=1).mean() == pytest.approx(law.mean_delay_s, rel=0.05)
    assert (drawn[:, 0] <= law.node_poll).all() and (drawn >= 0).all()


def test_rounds_close_when_the_server_looks_and_the_closed_form_is_the_simulation():
    config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=4)
    profile = load_profile("lte").with_framework(NAME)
    record = size_only(config, profile, rounds=15)
    closed = record.rounds["closed_at_s"].to_numpy()
    law = load_framework(NAME)
    lengths = (np.diff(closed, prepend=0) - law.server_time) / law.server_poll
    np.testing.assert_allclose(lengths, np.round(lengths), atol=1e-9)
    clock = Clock(profile, config.fleet.clients)
    found = clock.closing_times(Traffic.of(record))
    np.testing.assert_allclose(found, closed, rtol=1e-12)
    assert retime(record, profile).rounds.equals(record.rounds)
    plain = size_only(config, load_profile("lte"), rounds=15).rounds["closed_at_s"][14]
    assert closed[-1] > plain.as_py() + 15 * load_framework(NAME).start / 2


def test_a_network_with_a_framework_has_its_name_its_draws_and_its_fingerprint():
    plain = load_profile("lte")
    made = plain.with_framework(NAME)
    assert made.name == f"lte, framework {NAME}"
    assert profile_of_name(made.name) == made == with_change(plain, "framework", NAME)
    assert "framework" in made.draws and not made.is_traffic_alone
    assert made.settings()["framework_law"]["start"] == load_framework(NAME).start
    assert made.without_framework().settings() == plain.without_framework().settings()
    with pytest.raises(ProfileError, match="unknown framework"):
        plain.with_framework("flower-0.1")


def test_an_estimate_says_how_much_of_a_round_is_the_floor():
    given = {"network": "lte", "framework": NAME, "rounds": 5, "clients": 20, "cohort": 5}
    made = estimate(deployment_of(given))
    assert sum(made.shares.values()) == pytest.approx(1)
    plain = estimate(deployment_of({**given, "framework": ""} | {"network": "lte"}))
    whole, rest = made.time.seconds[0], plain.time.seconds[0]
    assert made.shares["framework"] == pytest.approx(1 - rest / whole, rel=0.05)
    json.dumps(made.to_json())
