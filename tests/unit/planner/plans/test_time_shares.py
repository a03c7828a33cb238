from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from stand_in_learners import CountingLearner

from floss_sim import RunConfig, load_profile, run
from floss_sim.analysis.estimate import Estimate
from floss_sim.analysis.traffic import Traffic
from floss_sim.network import NetworkProfile
from planner.plans.time_shares import round_time, upload_share
from planner.question.budget import Limit, parse_budget

ROUNDS = 6
PARTS = ("download", "upload", "latency", "compute", "queueing")


def limit(profile: NetworkProfile, text: str = "1MB") -> Limit:
    return Limit(parse_budget(text), 1e6, profile.links(50), 5)


@pytest.mark.parametrize("name", ["paper-200-20", "lte", "mobile-mixed", "satellite"])
def test_shares_of_the_slowest_client_make_a_whole(digits: RunConfig, name: str):
    profile = load_profile(name)
    record = run(digits, profile, CountingLearner(), rounds=ROUNDS)
    said = round_time(record, profile, limit(profile), ROUNDS)
    assert sum(getattr(said, part) for part in PARTS) == pytest.approx(1)
    assert said.round_s == pytest.approx(record.rounds["closed_at_s"][-1].as_py() / ROUNDS)
    assert (said.latency > 0) == (name != "paper-200-20")
    assert said.waiting > (0.05 if name == "mobile-mixed" else 0)


def test_shares_are_those_of_the_formulas(digits: RunConfig, tmp_path: Path):
    text = """
name = "made"
source = "test"
date = "2026"
[[clients]]
share = 1.0
down = "8 kbit/s"
up = "1 kbit/s"
rtt = "2 s"
compute_per_example = "100 ms"
"""
    path = tmp_path / "made.toml"
    path.write_text(text, encoding="utf-8")
    profile = load_profile(str(path))
    record = run(digits, profile, CountingLearner(), rounds=1)
    said = round_time(record, profile, limit(profile), 1)
    rows = record.transfers.to_pylist()
    last = max(row["nbytes"] for row in rows if row["direction"] == "up")
    down_s, up_s, compute_s, latency_s = 1.0, 8 * last / 1000, 2.2, 2.0
    total_s = down_s + up_s + compute_s + latency_s
    assert said.round_s == pytest.approx(total_s)
    assert said.download == pytest.approx(down_s / total_s)
    assert said.upload == pytest.approx(up_s / total_s)
    assert said.compute == pytest.approx(compute_s / total_s)
    assert said.latency == pytest.approx(latency_s / total_s)
    assert said.queueing == 0


def test_uploads_take_their_share_of_a_budget(digits: RunConfig):
    profile = load_profile("paper-200-20")
    record = run(digits, profile, CountingLearner(), rounds=ROUNDS)
    down, up = (sum(record.rounds[f"{way}_bytes"].to_pylist()) for way in ("down", "up"))
    assert upload_share(record, limit(profile), ROUNDS) == pytest.approx(up / (down + up))
    dense = upload_share(record, limit(profile, "5-dense-rounds"), ROUNDS)
    assert dense == pytest.approx(10 * up / (down + 10 * up))
    assert upload_share(record, limit(profile, "90s"), ROUNDS) is None


@pytest.mark.parametrize("name", ["paper-200-20", "lte", "mobile-mixed", "satellite"])
def test_shares_of_a_record_are_those_of_an_estimate_of_its_messages(digits: RunConfig, name: str):
    """Clients share nothing, so that an estimate has them in closed form, without a record."""
    profile = load_profile(name)
    record = run(digits, profile, CountingLearner(), rounds=ROUNDS)
    said = round_time(record, profile, limit(profile), ROUNDS)
    fleet = SimpleNamespace(profile=profile, clients=50)
    estimated = Estimate(fleet, None, Traffic.of(record), {}).shares
    assert {part: getattr(said, part) for part in PARTS} == pytest.approx(estimated, abs=1e-9)
