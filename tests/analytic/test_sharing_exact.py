"""Shared links against closed forms, to 1e-9: the fair share alone, a pipe, simulated rounds."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

import pytest
import simpy
from flows import Case, Job, job, piped, shared
from hypothesis import given
from hypothesis import strategies as st
from networks import SizedLearner, network, play

from floss_sim.network import ClientLink
from floss_sim.network.flow.max_min_fair import FairShare
from floss_sim.network.flow.pipe import Pipe
from floss_sim.simulator import first_k

exactly = pytest.approx
REL = 1e-9
AMOUNTS = st.floats(1e2, 1e9)
BYTES = st.integers(1, 10**8)
each_way = pytest.mark.parametrize("ends_of", [shared, piped])


def batch_ends(sizes: list[float], capacity: float) -> list[float]:
    """Return when the flows of a batch end that shares a server, written as on paper.

    While the k-th smallest is the smallest that is left, n - k + 1 flows advance alike.
    """
    ranked, n = sorted(sizes), len(sizes)
    steps = [(b - a) * (n - k) for k, (a, b) in enumerate(pairwise([0.0, *ranked]))]
    ends = dict(zip(ranked, accumulate(steps), strict=True))
    return [ends[size] / capacity for size in sizes]


def water_level(caps: list[float], capacity: float) -> float:
    """Return the level up to which caps fill a capacity; infinity where they all fit."""
    left = capacity
    for i, cap in enumerate(sorted(caps)):
        if cap * (len(caps) - i) > left:
            return left / (len(caps) - i)
        left -= cap
    return math.inf


@each_way
@pytest.mark.parametrize("n", [1, 2, 5, 100])
def test_equal_flows_divide_the_server_by_their_number(ends_of, n: int):
    case = Case(tuple(job(0, 8e6, 1e8) for _ in range(n)), 1e7)
    assert ends_of(case) == exactly([n * 8e6 / 1e7] * n, rel=REL)


@each_way
@given(st.lists(AMOUNTS, min_size=1, max_size=20, unique=True), AMOUNTS)
def test_unequal_sizes_follow_the_closed_form_of_a_batch(ends_of, sizes, capacity):
    case = Case(tuple(job(0, size, 2 * capacity) for size in sizes), capacity)
    assert ends_of(case) == exactly(batch_ends(sizes, capacity), rel=REL)


@each_way
@given(st.lists(AMOUNTS, min_size=1, max_size=20), AMOUNTS)
def test_unequal_caps_fill_like_water(ends_of, caps, capacity):
    # Sizes in proportion to the rates: all flows end at one instant, with no change before it.
    level = water_level(caps, capacity)
    case = Case(tuple(job(0, 7 * min(cap, level), cap) for cap in caps), capacity)
    assert ends_of(case) == exactly([7.0] * len(caps), rel=REL)


@each_way
@given(
    st.lists(st.tuples(AMOUNTS, st.lists(AMOUNTS, min_size=1, max_size=6)), min_size=1, max_size=5),
    AMOUNTS,
)
def test_two_tiers_fill_like_water_in_water(ends_of, cells, capacity):
    # What a cell takes at a server's level is the water of its own; bisection finds that level.
    def rates(level: float) -> list[float]:
        found = []
        for limit, caps in cells:
            own = min(level, water_level(caps, limit))
            found += [min(cap, own) for cap in caps]
        return found

    low, high = 0.0, max(cap for _, caps in cells for cap in caps)
    if sum(rates(high)) > capacity:
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if sum(rates(middle)) <= capacity else (low, middle)
    links = [(cell, cap) for cell, (_, caps) in enumerate(cells) for cap in caps]
    pairs = zip(rates(high), links, strict=True)
    jobs = tuple(job(0, 7 * rate, cap, cell) for rate, (cell, cap) in pairs)
    case = Case(jobs, capacity, tuple(limit for limit, _ in cells))
    assert ends_of(case) == exactly([7.0] * len(jobs), rel=REL)


@each_way
def test_a_flow_that_joins_and_one_that_leaves(ends_of):
    # Alone for 1 s at 6; then two at 5 (of 10), the second of 10 bits until 3; alone again at 6.
    case = Case((job(0, 28, 6), job(1, 10, 6)), 10)
    assert ends_of(case) == exactly([1 + 2 + 12 / 6, 3], rel=REL)


@each_way
def test_a_capped_flow_leaves_the_rest_to_the_others(ends_of):
    # 2 of 12 for the first, 5 and 5; after 4 s its link opens: 4 each.
    first = Case((job(0, 8, 2), job(0, 60, 99), job(0, 60, 99)), 12)
    assert ends_of(first) == exactly([4, 4 + 40 / 6, 4 + 40 / 6], rel=REL)
    opened = Job(0, 24, ((0, 2), (4, 99)))
    assert ends_of(Case((opened, *first.jobs[1:]), 12)) == exactly(
        [8, 8 + 24 / 6, 8 + 24 / 6], rel=REL
    )


def test_cells_hold_back_their_own_clients_only():
    # Cell 0 gives its three flows 1 each of 3; the other two share what the server has left.
    jobs = (*(job(0, 2, 9, 0) for _ in range(3)), job(0, 7, 9, 1), job(0, 7, 9, 1))
    for ends_of in (shared, piped):
        assert ends_of(Case(jobs, 10, (3, 99))) == exactly([2, 2, 2, 2, 2], rel=REL)


@given(st.lists(BYTES, min_size=1, max_size=8, unique=True), st.floats(1e5, 1e9))
def test_rounds_follow_the_closed_form_of_a_batch(sizes, capacity):
    down = [10**6] * len(sizes)
    links = [ClientLink(2 * capacity, 2 * capacity, 0, 0.25)] * len(sizes)
    profile = network(egress=capacity, ingress=capacity)
    (outcome,) = play(SizedLearner(down, sizes), profile, links)
    n, downs = len(sizes), [t for t in outcome.transfers if t.direction == "down"]
    ups = [t for t in outcome.transfers if t.direction == "up"]
    down_s = n * 8e6 / capacity
    assert [t.ended_at_s for t in downs] == exactly([down_s] * n, rel=REL)
    assert [t.started_at_s for t in ups] == exactly([down_s + 0.25] * n, rel=REL)
    ends = batch_ends([8.0 * size for size in sizes], capacity)
    assert [t.ended_at_s for t in ups] == exactly([down_s + 0.25 + end for end in ends], rel=REL)
    assert outcome.closed_at_s == exactly(down_s + 0.25 + 8 * sum(sizes) / capacity, rel=REL)


def test_rounds_through_cells():
    # Four clients in two cells of 10 down: 5 each. Up the server's 4 binds: 1 each.
    links = [ClientLink(1e9, 1e9, 0, 0, cell=client % 2) for client in range(4)]
    profile = network(ingress=4, cells=(2, 10, 10))
    (outcome,) = play(SizedLearner([100] * 4, [10] * 4), profile, links)
    assert {t.ended_at_s for t in outcome.transfers if t.direction == "down"} == {160.0}
    assert outcome.closed_at_s == exactly(160 + 80, rel=REL)


@given(st.permutations(range(6)), st.data())
def test_the_order_of_one_instant_changes_no_bit_of_time(order, data):
    # Half of the clients are alike, so that starts, ends and reports fall on one instant.
    sizes = data.draw(st.lists(st.sampled_from([1000, 3000]), min_size=6, max_size=6))
    links = [ClientLink(*rates, 0.01, 0.1, cell=0) for rates in [(8e6, 4e6), (5e6, 1e6)] * 3]
    profile = network(egress=1.5e7, ingress=6e6, cells=(1, 1.2e7, 5e6))
    played = []
    for asked in (range(6), order):
        learner = SizedLearner(sizes, sizes[::-1])
        (outcome,) = play(learner, profile, links, cohorts={1: asked})
        ends = {(t.client, t.direction): t.ended_at_s for t in outcome.transfers}
        played.append((outcome.closed_at_s, ends))
    assert played[0] == played[1]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_of_reports_of_one_instant_the_first_dispatched_count(order):
    links = [ClientLink(1e6, 1e6, 0, 0)] * 3
    learner = SizedLearner([1000] * 3, [1000] * 3)
    (outcome,) = play(learner, network(ingress=1e6), links, first_k(2), {1: order})
    assert learner.aggregated == [order[:2]]
    assert outcome.closed_at_s == exactly(8e3 / 1e6 + 3 * 8e3 / 1e6, rel=REL)


@pytest.mark.parametrize("asked_s", [0.0, 0.5])
def test_a_flow_that_is_stopped_as_it_ends_frees_its_share(asked_s: float):
    # Two flows at 1 bit/s each; one bit of the first, then the second goes on at 2. Asked at 0 the
    # stop is before the end of that instant, asked later it is after it.
    env = simpy.Environment()
    pipe = Pipe(env, FairShare(2))

    def stop_at_1():
        yield env.timeout(asked_s)
        yield env.timeout(1 - asked_s)
        assert pipe.stop(first) == 0

    env.process(stop_at_1())
    first, second = (pipe.start(bits, iter([(0.0, 5.0)]), 0) for bits in (1, 2))
    env.run(until=second.tag)
    assert env.now == exactly(1.5, rel=REL)


@each_way
def test_the_last_bit_leaves_before_its_link_drops_out(ends_of):
    # The first ends at 2 s, the instant at which its link stops for 8 s; so does its neighbour's.
    outage = ((0.0, 5.0), (2.0, 0.0), (10.0, 5.0))
    case = Case((Job(0, 10, outage), Job(0, 11, outage)), 10)
    assert ends_of(case) == exactly([2, 10 + 1 / 5], rel=REL)


@pytest.mark.parametrize("clock_s", [0.0, 1e6, 1e9, 1e12])
def test_flows_far_below_the_clocks_resolution_still_end(clock_s: float):
    jobs = (job(clock_s, 1e-9, 1e12), job(clock_s, 1.0, 1e12), job(clock_s, 1e13, 1e12))
    for ends_of in (shared, piped):
        ends = ends_of(Case(jobs, 1e12))
        assert ends == exactly([clock_s, clock_s, clock_s + 10], rel=1e-12, abs=1e-9)
