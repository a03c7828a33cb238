"""Queueing theory and order statistics: z-scores over independent replications.

There are 41 laws, each over 40 replications with fixed seeds. If all of them hold, a mean lies
beyond 4 of its standard errors with a chance of 2.7e-4 (Student's law, 39 degrees of freedom),
and any of 41 does with 1 %. Seeds are fixed: it was decided once.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict

import pytest
from flows import piped
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import SizedLearner, network, play, watched
from queues import EXPONENTIAL, HYPER, Law, equilibrium, laws, mean_flows, measure

from floss_sim.network import ClientLink
from floss_sim.simulator import RoundPolicy, buffered, deadline, first_k, wait_all

REPLICATIONS, SIZE, Z = 40, 300, 4.0
LAWS = laws(piped)


@pytest.mark.parametrize("law", LAWS, ids=[law.name for law in LAWS])
def test_theory_lies_within_four_standard_errors(law: Law):
    assert abs(measure(law, REPLICATIONS, SIZE).z) < Z


def test_the_theory_is_the_textbooks():
    assert mean_flows(0.6) == pytest.approx(0.6 / 0.4)
    assert [p for p, _ in zip(equilibrium(0.6), range(3), strict=False)] == pytest.approx(
        [0.4, 0.24, 0.144]
    )
    # Erlang C of three servers at a load of 0.7: offered 2.1.
    weight = 2.1**3 / 6 / 0.3
    waits = weight / (1 + 2.1 + 2.1**2 / 2 + weight)
    assert mean_flows(0.7, 3) == pytest.approx(2.1 + waits * 0.7 / 0.3)


def test_a_wrong_theory_is_seen():
    """The z-scores can fail: 20 % off is found, by far."""
    right = next(law for law in LAWS if "M/M/1-PS, load 0.3" in law.name)
    wrong = Law(right.name, 1.2 * right.theory, right.replicate)
    assert abs(measure(wrong, REPLICATIONS, SIZE).z) > 2 * Z


def test_sizes_have_mean_one():
    for sizes, square in ((EXPONENTIAL, 2), (HYPER, 6)):
        draw = random.Random(3)
        whole = [sizes.whole(draw) for _ in range(40_000)]
        left = [sizes.left(draw) for _ in range(40_000)]
        assert sum(whole) / 40_000 == pytest.approx(1, abs=5 * math.sqrt(square / 40_000))
        # Of a size in service E[S^2] / 2 E[S] is left.
        assert sum(left) / 40_000 == pytest.approx(square / 2, rel=0.05)


CLIENTS = 6
POLICIES = st.one_of(
    st.just(wait_all()),
    st.builds(first_k, st.integers(1, CLIENTS), st.sampled_from(["cancel", "finish"])),
    st.builds(
        deadline, st.floats(0.01, 3), st.integers(1, CLIENTS), st.sampled_from(["cancel", "finish"])
    ),
    st.builds(buffered, st.integers(1, CLIENTS)),
)
LINKS = st.builds(
    ClientLink, st.floats(1e4, 1e6), st.floats(1e4, 1e6), st.just(0.0), st.floats(0, 0.5),
    cell=st.integers(0, 1),
)  # fmt: skip
SIZES = st.lists(st.integers(1, 50_000), min_size=CLIENTS, max_size=CLIENTS)


@settings(max_examples=60)
@given(
    st.lists(LINKS, min_size=CLIENTS, max_size=CLIENTS), SIZES, SIZES, POLICIES,
    st.floats(1e5, 3e6), st.floats(1e5, 3e6),
)  # fmt: skip
def test_littles_law_holds_on_every_run(links, down, up, policy: RoundPolicy, egress, ingress):
    """Flows in flight, counted inside the links, against the stays that the records say.

    Mean number = arrivals per second * mean stay; both sides times the length of the run. Late
    and cancelled transfers count too. The last round asks nobody but one slow client, so that
    every other flow has ended by its end.
    """
    links = [*links, ClientLink(100.0, 100.0, 0.0, 0.0)]
    asked = defaultdict(
        list, {1: range(CLIENTS), 2: range(CLIENTS), 3: range(CLIENTS), 4: [CLIENTS]}
    )
    learner = SizedLearner([*down, 5000], [*up, 5000])
    profile = network(egress, ingress, cells=(2, 9e5, 9e5))
    with watched() as watch:
        outcomes, done = [], False
        played = play(learner, profile, links, policy, asked, CLIENTS, rounds=99)
        while not done:
            outcomes.append(next(played))
            done = len(outcomes) >= 4 and not outcomes[-1].in_flight
    stays = [t.ended_at_s - t.started_at_s for o in outcomes for t in o.transfers]
    assert watch.flow_seconds == pytest.approx(math.fsum(stays), rel=1e-9)
