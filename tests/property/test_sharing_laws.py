"""What must hold for all flows that share a link, whatever they are."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from flows import Case, Ends, Job, piped, shared
from hypothesis import given
from hypothesis import strategies as st
from networks import watched

from floss_sim.network.flow.max_min_fair import FairShare

ROUNDING = 1e-12
INSTANTS = st.one_of(st.integers(0, 4).map(float), st.floats(0, 4))
BITS = st.one_of(st.sampled_from([1.0, 10.0]), st.floats(0.01, 100))
CAPS = st.one_of(st.sampled_from([1.0, 5.0]), st.floats(0.01, 50))
SLOW = st.just(0.01)
OUTAGE = st.just(0.0)
LIMITS = st.one_of(st.sampled_from([2.0, 10.0]), st.floats(0.5, 100), st.just(math.inf))
each_way = pytest.mark.parametrize("ends_of", [shared, piped])


@st.composite
def jobs(draw: st.DrawFn, cells: int, worst: st.SearchStrategy[float]) -> Job:
    """A flow whose link changes up to three times, at worst to some rate."""
    waits_s = draw(st.lists(st.one_of(st.just(1.0), st.floats(0.01, 3)), max_size=3))
    at_s = draw(INSTANTS)
    caps = [(at_s, draw(CAPS))]
    for wait_s in waits_s:
        caps.append((caps[-1][0] + wait_s, draw(st.one_of(worst, CAPS))))
    if not caps[-1][1]:
        caps.append((caps[-1][0] + 1.0, draw(CAPS)))
    return Job(at_s, draw(BITS), tuple(caps), draw(st.integers(0, max(0, cells - 1))))


@st.composite
def cases(draw: st.DrawFn, worst: st.SearchStrategy[float] = SLOW) -> Case:
    """Up to eight flows through a server and up to three cells.

    Where links stop (``OUTAGE``), time is no continuous function of sizes and rates: a last bit
    that is late by a rounding waits for the link to come back. Laws of time take ``SLOW`` links.
    """
    cells = draw(st.lists(LIMITS, max_size=3))
    several = st.lists(jobs(len(cells), worst), min_size=1, max_size=8)
    return Case(tuple(draw(several)), draw(LIMITS), tuple(cells))


def alone(job: Job) -> float:
    """Return when a flow would end if nothing were shared."""
    left = job.bits
    for (at_s, cap), (then_s, _) in zip(job.caps, [*job.caps[1:], (math.inf, 0.0)], strict=True):
        if cap and at_s + left / cap <= then_s:
            return at_s + left / cap
        left -= cap * (then_s - at_s)
    raise AssertionError


def never_before(later: Ends, sooner: Ends) -> bool:
    """Return whether no flow of the first ends before it does in the second."""
    return all(a >= b * (1 - ROUNDING) for a, b in zip(later, sooner, strict=True))


@each_way
@given(cases(OUTAGE))
def test_all_bits_arrive_and_no_capacity_is_ever_exceeded(ends_of, case: Case):
    """Rates are integrated over time; at every instant they are max-min fair (see Watch)."""
    with watched() as watch:
        ends_of(case)
    assert watch.instants > 0
    assert list(watch.sent.values()) == pytest.approx(
        [flow.bits for flow in case_order(watch, case)]
    )


def case_order(watch, case: Case) -> list[Job]:
    """Return the jobs in the order in which their flows were started."""
    flows = list(watch.sent)
    if flows and isinstance(flows[0].tag, int):
        return [case.jobs[flow.tag] for flow in flows]
    return sorted(case.jobs, key=lambda job: job.at_s)


@each_way
@given(cases())
def test_no_flow_is_faster_than_its_own_link(ends_of, case: Case):
    assert never_before(ends_of(case), [alone(job) for job in case.jobs])


@given(cases())
def test_a_flow_alone_is_as_fast_as_its_link_cell_and_server_allow(case: Case):
    job = case.jobs[0]
    limit = min(case.capacity, case.cells[job.cell] if case.cells else math.inf)
    narrow = replace(job, caps=tuple((at_s, min(cap, limit)) for at_s, cap in job.caps))
    (end,) = shared(replace(case, jobs=(job,)))
    assert end == pytest.approx(alone(narrow), rel=ROUNDING)


@given(cases(), st.floats(1, 10))
def test_more_server_capacity_never_delays_a_flow(case: Case, factor: float):
    """Its starts are fixed; with rounds, whose uploads start as downloads end, it can."""
    wider = replace(case, capacity=case.capacity * factor)
    assert never_before(shared(case), shared(wider))


def test_more_capacity_of_a_cell_can_delay_the_clients_of_another():
    """A cell that lets more through takes more of the server's capacity."""
    flows = (Job(0, 10, ((0, 99),), 0), Job(0, 10, ((0, 99),), 1))
    narrow, wide = Case(flows, 10, (2, 99)), Case(flows, 10, (5, 99))
    assert shared(narrow) == [5, 1.25]
    assert shared(wide) == [2, 2]


@given(cases(), st.floats(1, 10))
def test_more_bits_of_one_flow_never_hasten_any(case: Case, factor: float):
    first, *others = case.jobs
    more = replace(first, bits=first.bits * factor)
    assert never_before(shared(replace(case, jobs=(more, *others))), shared(case))


@given(cases())
def test_one_flow_less_never_delays_the_others(case: Case):
    assert never_before(shared(case)[1:], shared(replace(case, jobs=case.jobs[1:])))


@each_way
@given(cases(), st.data())
def test_the_order_of_simultaneous_changes_makes_no_difference(ends_of, case: Case, data):
    """Not in one bit where links do not change; elsewhere in the last bits of a sum."""
    order = data.draw(st.permutations(range(len(case.jobs))))
    ends, reordered = ends_of(case), ends_of(case, order)
    assert ends == pytest.approx(reordered, rel=1e-14)
    if all(len(job.caps) == 1 for job in case.jobs):
        assert ends == reordered


@given(cases(), st.integers(1, 40))
def test_bits_may_be_counted_in_any_power_of_two(case: Case, power: int):
    """A change of units is no change of time (above some bits per second; see below)."""
    unit = 2.0**power
    scaled = Case(
        tuple(
            replace(job, bits=job.bits * unit, caps=tuple((s, cap * unit) for s, cap in job.caps))
            for job in case.jobs
        ),
        case.capacity * unit,
        tuple(limit * unit for limit in case.cells),
    )
    # Rates are kept in whole units of 1e-12 bit/s: 1e-10 of 0.01 bit/s.
    assert shared(scaled) == pytest.approx(shared(case), rel=1e-9)


@given(cases(OUTAGE), st.floats(0, 8), st.data())
def test_a_flow_that_is_stopped_has_sent_its_rate_over_time(case: Case, stop_s: float, data):
    """What is left and what was sent by the rates add up, for the stopped flow and the others."""
    cells = max(1, len(case.cells))
    with watched() as watch:
        share = FairShare(case.capacity, case.cells)
        flows = [
            share.add(0.0, job.bits, job.caps[0][1], job.cell % cells, job) for job in case.jobs
        ]
        share.settle(0.0)
        while (end_s := share.next_end_s()) <= stop_s:
            share.pop_ended(end_s)
            share.settle(end_s)
        stopped = data.draw(st.sampled_from(flows))
        left = share.remove(stop_s, stopped)
        share.settle(stop_s)
        assert left + watch.sent[stopped] == pytest.approx(stopped.tag.bits)
        while (end_s := share.next_end_s()) < math.inf:
            share.pop_ended(end_s)
            share.settle(end_s)
    others = [flow for flow in flows if flow is not stopped]
    assert [watch.sent[flow] for flow in others] == pytest.approx([f.tag.bits for f in others])
