"""Simulated time against the closed form, where nothing contends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_in_learners import FakeLearner

from floss_sim import RunConfig, RunRecord, load_profile, run, size_only
from floss_sim.network import ClientLink, NetworkProfile
from floss_sim.protocol.sampling import draw_cohort, order_of_clients
from floss_sim.runs.size_only_learner import SizeOnlyLearner
from floss_sim.simulator import simulate, wait_all

RATES = st.floats(1e3, 1e10)
LINKS = st.builds(ClientLink, RATES, RATES, st.floats(0, 2), st.floats(0, 0.5))


def closed_form(link: ClientLink, down: int, examples: int, up: int) -> float:
    """One client's seconds in a round, written as on paper."""
    return (
        link.rtt_s / 2 + 8 * down / link.down_bits_per_s
        + examples * link.compute_s_per_example
        + link.rtt_s / 2 + 8 * up / link.up_bits_per_s
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(LINKS, min_size=6, max_size=6), st.integers(1, 10**7), st.integers(1, 10**7))
def test_a_round_lasts_as_long_as_its_slowest_client(links, down, up):
    paper = load_profile("paper-200-20")
    rounds, size = 4, 3
    learner = FakeLearner(down=down, up=up, examples=7)
    outcomes = list(
        simulate(
            learner,
            paper,
            links,
            wait_all(),
            lambda r, attempt: order_of_clients(5, r, attempt, 6, size),
            size,
            rounds,
        )
    )
    instant = 0.0
    for outcome in outcomes:
        cohort = draw_cohort(5, outcome.round, 6, size).clients
        assert outcome.opened_at_s == pytest.approx(instant, rel=1e-9)
        instant += max(closed_form(links[c], down, 7, up) for c in cohort)
        assert outcome.closed_at_s == pytest.approx(instant, rel=1e-9)


@pytest.mark.parametrize("name", ["paper-200-20", "lte"])
def test_every_transfer_of_a_size_only_run_follows_the_closed_form(
    sparse_digits: RunConfig, name: str
):
    profile = load_profile(name)
    record = size_only(sparse_digits, profile, 5)
    links = profile.links(50)
    examples = sparse_digits.client_examples()
    down_ended_at_s = {}
    for row in record.transfers.to_pylist():
        link = links[row["client"]]
        rate = link.down_bits_per_s if row["direction"] == "down" else link.up_bits_per_s
        seconds = link.rtt_s / 2 + 8 * row["nbytes"] / rate
        assert row["ended_at_s"] - row["started_at_s"] == pytest.approx(seconds, abs=1e-9)
        if row["direction"] == "down":
            down_ended_at_s[row["sequence"]] = row["ended_at_s"]
        else:
            compute_s = examples[row["client"]] * link.compute_s_per_example
            gap = row["started_at_s"] - down_ended_at_s[row["sequence"]]
            assert gap == pytest.approx(compute_s, abs=1e-9)


def round_seconds(record: RunRecord) -> float:
    return record.rounds["closed_at_s"][-1].as_py() / record.rounds.num_rows


def test_an_upload_ratio_scales_upload_time_alone(digits: RunConfig, paper: NetworkProfile):
    one, sixteen = (size_only(digits, paper.with_upload_ratio(r), 3) for r in (1, 16))
    cohort = digits.server.cohort  # messages of a round are of equal size and travel at once
    down, up = (8 * sum(one.rounds[f"{way}_bytes"].to_pylist()) for way in ("down", "up"))
    down, up = (bits / (3 * cohort * 200e6) for bits in (down, up))
    assert round_seconds(one) == pytest.approx(down + up, rel=1e-9)
    assert round_seconds(sixteen) == pytest.approx(down + 16 * up, rel=1e-9)


def test_the_order_of_simultaneous_clients_changes_nothing(
    digits: RunConfig, paper: NetworkProfile
):
    links = paper.links(4)
    both = []
    for clients in ((0, 1, 2), (2, 1, 0)):
        learner = FakeLearner()
        (outcome,) = simulate(learner, paper, links, wait_all(), lambda r, a, c=clients: c, 3, 1)
        assert learner.aggregated == [clients]
        both.append(outcome)
    assert both[0].closed_at_s == both[1].closed_at_s
    assert sorted(t.ended_at_s for t in both[0].transfers) == sorted(
        t.ended_at_s for t in both[1].transfers
    )


def test_uploads_are_aggregated_in_the_cohorts_order_whatever_their_arrival(paper):
    slow, fast = ClientLink(1e6, 1e6, 0, 0), ClientLink(1e9, 1e9, 0, 0)
    learner = FakeLearner()
    (outcome,) = simulate(learner, paper, [slow, fast], wait_all(), lambda r, a: (0, 1), 2, 1)
    assert [client for call, client in learner.calls if call == "train"] == [1, 0]
    assert learner.aggregated == [(0, 1)]
    assert outcome.version == 1


def test_little_law_holds_on_every_run(sparse_digits: RunConfig):
    # L = lambda W: mean number of clients in the system equals arrivals a second times mean stay.
    record = size_only(sparse_digits, load_profile("lte"), 40)
    rows = record.transfers.to_pylist()
    end = record.rounds["closed_at_s"][-1].as_py()
    arrived = {r["sequence"]: r["started_at_s"] for r in rows if r["direction"] == "down"}
    left = {r["sequence"]: r["ended_at_s"] for r in rows if r["direction"] == "up"}
    events = sorted([(t, 1) for t in arrived.values()] + [(t, -1) for t in left.values()])
    area, inside, before = 0.0, 0, 0.0
    for instant, change in events:
        area += inside * (instant - before)
        inside, before = inside + change, instant
    stay = sum(left[s] - arrived[s] for s in arrived) / len(arrived)
    assert area / end == pytest.approx(len(arrived) / end * stay, rel=1e-9)
    assert inside == 0


def test_run_without_a_folder_returns_the_same_tables_as_size_only(sparse_digits, paper):
    learner = SizeOnlyLearner(sparse_digits.sizes, sparse_digits.client_examples())
    direct = run(sparse_digits, paper, learner, rounds=3)
    assert direct.rounds.equals(size_only(sparse_digits, paper, 3).rounds)
