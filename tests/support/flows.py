"""Cases of flows that share links, and four ways to find when each of them ends.

``shared`` and ``piped`` are ours: the fair share alone, and behind a pipe in simulated time.
``filled`` (progressive filling, written to be obvious and slow) and ``ciw_ends`` (the processor
sharing of another project) are independent of it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import ciw
import simpy

from floss_sim.network.flow.max_min_fair import FairShare, Flow
from floss_sim.network.flow.pipe import Pipe

Ends = list[float]


@dataclass(frozen=True)
class Job:
    """A flow: bits from an instant on, through a link of its own and a cell.

    ``caps`` says which rate its own link allows from which instant on, the first at ``at_s``.
    """

    at_s: float
    bits: float
    caps: tuple[tuple[float, float], ...]
    cell: int = 0


@dataclass(frozen=True)
class Case:
    """Flows, the capacity that they share, and that of each cell."""

    jobs: tuple[Job, ...]
    capacity: float = math.inf
    cells: tuple[float, ...] = ()


def job(at_s: float, bits: float, cap: float, cell: int = 0) -> Job:
    """Return a flow whose own link never changes."""
    return Job(at_s, bits, ((at_s, cap),), cell)


def random_case(seed: int, flows: int = 12) -> Case:
    """Return a case with ties of instants, sizes and rates, and with links that stop."""
    draw = random.Random(seed)
    cells = tuple(
        draw.choice([draw.uniform(1, 30), 1e3, 7.0]) for _ in range(draw.choice([0, 0, 1, 2, 4]))
    )
    capacity = draw.choice([math.inf, draw.uniform(5, 60), 20.0])
    return Case(tuple(_random_job(draw, len(cells)) for _ in range(draw.randint(1, flows))),
                capacity, cells)  # fmt: skip


def _random_job(draw: random.Random, cells: int) -> Job:
    at_s = draw.choice([0.0, draw.uniform(0, 5), 1.0])
    caps = [(at_s, draw.choice([5.0, draw.uniform(0.1, 20)]))]
    for _ in range(draw.choice([0, 0, 1, 3])):
        wait_s = draw.choice([0.5, draw.uniform(0.1, 3)])
        caps.append((caps[-1][0] + wait_s, draw.choice([0.0, 5.0, draw.uniform(0.1, 30)])))
    if caps[-1][1] == 0:
        caps.append((caps[-1][0] + 1.0, 2.0))
    bits = draw.choice([10.0, draw.uniform(1, 100)])
    return Job(at_s, bits, tuple(caps), draw.randrange(max(1, cells)))


def shared(case: Case, order: Sequence[int] | None = None) -> Ends:
    """Return when each flow ends by the fair share alone; changes of one instant in an order."""
    share = FairShare(case.capacity, case.cells)
    flows: dict[int, Flow] = {}
    ends = [math.nan] * len(case.jobs)
    todo = _changes(case, order)[::-1]
    now = 0.0
    while (at_s := min(todo[-1][0] if todo else math.inf, share.next_end_s())) < math.inf:
        assert at_s >= now, "time ran back"
        now = at_s
        for flow in share.pop_ended(now):
            ends[flow.tag] = now
        while todo and todo[-1][0] <= now:
            _, i, cap = todo.pop()
            if i not in flows:
                one = case.jobs[i]
                flows[i] = share.add(now, one.bits, cap, one.cell, i)
            elif math.isnan(ends[i]):
                share.set_cap(now, flows[i], cap)
        share.settle(now)
    return ends


def _changes(case: Case, order: Sequence[int] | None) -> list[tuple[float, int, float]]:
    """Return (instant, flow, cap) in time, those of an instant by the order of their flows."""
    numbers = range(len(case.jobs)) if order is None else order
    changes = [(at_s, i, cap) for i in numbers for at_s, cap in case.jobs[i].caps]
    return sorted(changes, key=lambda change: change[0])


def piped(case: Case, order: Sequence[int] | None = None) -> Ends:
    """Return when each flow ends through a pipe in simulated time."""
    env = simpy.Environment()
    pipe = Pipe(env, FairShare(case.capacity, case.cells))
    ends = [math.nan] * len(case.jobs)

    def client(i: int):
        one = case.jobs[i]
        yield env.timeout(one.at_s)
        yield pipe.start(one.bits, iter(one.caps), one.cell).tag
        ends[i] = env.now

    for i in range(len(ends)) if order is None else order:
        env.process(client(i))
    env.run()
    return ends


def filled(case: Case) -> Ends:
    """Return when each flow ends: all rates are found anew after every single event."""
    left: dict[int, float] = {}
    cap: dict[int, float] = {}
    ends = [math.nan] * len(case.jobs)
    changes, now, done = _changes(case, None), 0.0, 0
    while done < len(changes) or left:
        rate = _rates([(cap[i], case.jobs[i].cell) for i in left], case) if left else []
        rates = list(zip(left.values(), rate, strict=True))
        first_s = min((now + b / r for b, r in rates if r), default=math.inf)
        then = min(first_s, changes[done][0] if done < len(changes) else math.inf)
        for i, r in zip(tuple(left), rate, strict=True):
            left[i] -= r * (then - now)
            if r and left[i] <= 1e-13 * case.jobs[i].bits:
                ends[i] = then
                del left[i]
        now = then
        while done < len(changes) and changes[done][0] <= now:
            at_s, i, cap[i] = changes[done]
            if at_s == case.jobs[i].at_s:
                left[i] = case.jobs[i].bits
            done += 1
    return ends


def _rates(flows: Sequence[tuple[float, int]], case: Case) -> list[float]:
    """Raise all rates together; freeze flows where their link, cell or the server is full."""
    rate = [0.0] * len(flows)
    groups = [(range(len(flows)), case.capacity)]
    for cell, capacity in enumerate(case.cells):
        groups.append(([i for i, flow in enumerate(flows) if flow[1] == cell], capacity))
    rising = set(range(len(flows)))
    while rising:
        level = rate[min(rising)]
        steps = [flows[i][0] - level for i in rising]
        for members, capacity in groups:
            if count := len(rising.intersection(members)):
                steps.append((capacity - sum(rate[i] for i in members)) / count)
        step = min(steps)
        for i in rising:
            rate[i] += step
        full = {i for i in rising if flows[i][0] <= rate[i] * (1 + 1e-13)}
        for members, capacity in groups:
            if sum(rate[i] for i in members) >= capacity * (1 - 1e-13):
                full |= rising.intersection(members)
        assert full
        rising -= full
    return rate


def random_batch(seed: int, flows: int, at_once: int) -> Case:
    """Return flows of equal links through one server, of which it serves some at full rate.

    This is the capacitated processor sharing that Ciw knows: with n > R flows each has R / n of
    its link's rate.
    """
    draw = random.Random(seed)
    cap, at_s, jobs = draw.uniform(0.5, 2), 0.0, []
    load = draw.uniform(0.5, 1.3) * at_once * cap  # some cases are overloaded
    for _ in range(flows):
        at_s += draw.expovariate(load)
        jobs.append(job(at_s, draw.choice([1.0, draw.expovariate(1)]), cap))
    return Case(tuple(jobs), at_once * cap)


def ciw_ends(case: Case) -> Ends:
    """Return when each flow of a ``random_batch`` ends in Ciw's processor-sharing node."""
    cap = case.jobs[0].caps[0][1]
    gaps = [one.at_s - before.at_s for before, one in pairwise(case.jobs)]
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Sequential([case.jobs[0].at_s, *gaps, math.inf])],
        service_distributions=[ciw.dists.Sequential([one.bits / cap for one in case.jobs])],
        number_of_servers=[math.inf],
        ps_thresholds=[round(case.capacity / cap)],
    )
    simulation = ciw.Simulation(network, node_class=ciw.PSNode)
    simulation.simulate_until_max_customers(len(case.jobs), method="Finish")
    records = {record.id_number: record for record in simulation.get_all_records()}
    return [float(records[i + 1].exit_date) for i in range(len(case.jobs))]


def worst_error(ours: Ends, theirs: Ends) -> float:
    """Return the largest relative difference; infinite where a flow never ended."""
    errors = (abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))
    return max(math.inf if math.isnan(error) else error for error in errors)


def later(case: Case, seconds: float) -> Case:
    """Return the case with every instant so many seconds later."""
    jobs = (
        replace(
            one,
            at_s=one.at_s + seconds,
            caps=tuple((at_s + seconds, cap) for at_s, cap in one.caps),
        )
        for one in case.jobs
    )
    return replace(case, jobs=tuple(jobs))
