"""Laws of queueing and of order, each measured over independent replications.

A replication starts from the law of the queue itself, not empty, so that there is no warm-up to
cut off. In equilibrium a processor-sharing queue with Poisson arrivals holds n flows with a known
probability, whatever the law of their sizes, and what is left of them is independent, by the
equilibrium law of the sizes (Kelly, Reversibility and Stochastic Networks, 1979, section 3.3).
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from flows import Case, Ends, Job, job, shared
from networks import network, play
from stand_in_learners import FakeLearner

from floss_sim.network import ClientLink
from floss_sim.simulator import first_k
from floss_sim.simulator.policies import LateAction

Engine = Callable[[Case], Ends]
Draw = random.Random


@dataclass(frozen=True)
class Sizes:
    """A law of sizes of mean 1, and its equilibrium law: of what is left of a size in service."""

    name: str
    whole: Callable[[Draw], float]
    left: Callable[[Draw], float]


THREE = {0.2: 0.5, 1.0: 0.4, 5.0: 0.1}  # size: probability
_H2 = (1 + math.sqrt(2 / 3)) / 2  # balanced means; squared coefficient of variation 5


def _hyper(draw: Draw, first: float) -> float:
    phase = _H2 if draw.random() < first else 1 - _H2
    return draw.expovariate(2 * phase)


def _three(draw: Draw, weights: list[float]) -> float:
    return draw.choices(list(THREE), weights)[0]


EQUAL = Sizes("D", lambda draw: 1.0, lambda draw: draw.random())
EXPONENTIAL = Sizes("M", lambda draw: draw.expovariate(1), lambda draw: draw.expovariate(1))
HYPER = Sizes("H2", partial(_hyper, first=_H2), partial(_hyper, first=0.5))
MIXED = Sizes(
    "G",
    partial(_three, weights=list(THREE.values())),
    lambda draw: draw.random() * _three(draw, [size * p for size, p in THREE.items()]),
)


def equilibrium(load: float, servers: int = 1) -> Iterator[float]:
    """Yield the probability of n flows, n = 0, 1, ...: that of M/M/``servers``.

    With one server it is ``(1 - load) load^n``.
    """
    offered = load * servers
    idle = sum(offered**n / math.factorial(n) for n in range(servers))
    weight = offered**servers / math.factorial(servers) / (1 - load)
    probability, n = 1 / (idle + weight), 0
    while True:
        yield probability
        n += 1
        probability *= offered / min(n, servers)


def mean_flows(load: float, servers: int = 1) -> float:
    """Return the mean number of flows in equilibrium."""
    law = equilibrium(load, servers)
    return sum(n * next(law) for n in range(2000))


def _begin(draw: Draw, sizes: Sizes, load: float, servers: int) -> list[Job]:
    level, jobs = draw.random(), []
    for probability in equilibrium(load, servers):
        level -= probability
        if level < 0:
            return jobs
        jobs.append(job(0.0, sizes.left(draw), 1.0))
    raise AssertionError


def stays(
    seed: str, sizes: Sizes, load: float, flows: int, servers: int = 1, engine: Engine = shared
) -> list[tuple[float, float]]:
    """Return (size, seconds) of so many flows in equilibrium that arrive one after the other.

    The first of them finds the equilibrium at time zero, as every Poisson arrival does; so that
    all of them do. Arrivals go on until the last of them has ended.
    """
    draw = random.Random(seed)
    jobs = _begin(draw, sizes, load, servers)
    first, at_s = len(jobs), 0.0
    while True:
        for _ in range(flows):
            jobs.append(job(at_s, sizes.whole(draw), 1.0))
            at_s += draw.expovariate(load * servers)
        ends = engine(Case(tuple(jobs), float(servers)))
        mine = range(first, first + flows)
        if max(ends[i] for i in mine) < jobs[-1].at_s:
            return [(jobs[i].bits, ends[i] - jobs[i].at_s) for i in mine]


def occupancy(
    seed: str, sizes: Sizes, load: float, horizon_s: float, servers: int = 1
) -> dict[int, float]:
    """Return the part of the time from 0 to a horizon with n flows, in equilibrium from 0 on."""
    draw = random.Random(seed)
    jobs = _begin(draw, sizes, load, servers)
    present = len(jobs)
    at_s = draw.expovariate(load * servers)
    while at_s < horizon_s:
        jobs.append(job(at_s, sizes.whole(draw), 1.0))
        at_s += draw.expovariate(load * servers)
    ends = shared(Case(tuple(jobs), float(servers)))
    steps = [(one.at_s, 1) for one in jobs[present:]] + [(end, -1) for end in ends]
    parts, before = dict[int, float](), 0.0
    for now, step in sorted(steps):
        now = min(now, horizon_s)
        parts[present] = parts.get(present, 0.0) + (now - before) / horizon_s
        present, before = present + step, now
    return parts


@dataclass(frozen=True)
class Law:
    """A mean that theory knows; ``replicate(seed, size)`` returns one unbiased estimate of it."""

    name: str
    theory: float
    replicate: Callable[[str, int], float]


@dataclass(frozen=True)
class Measured:
    """A law over replications; ``z`` is the distance of their mean in its standard errors."""

    law: Law
    replications: int
    mean: float
    z: float


def measure(law: Law, replications: int, size: int) -> Measured:
    """Return what so many replications with fixed seeds say of a law."""
    values = [law.replicate(f"{law.name} {i}", size) for i in range(replications)]
    mean = statistics.fmean(values)
    error = statistics.stdev(values) / math.sqrt(replications)
    return Measured(law, replications, mean, (mean - law.theory) / error)


def _stay(
    sizes: Sizes, load: float, servers: int = 1, engine: Engine = shared, name: str = ""
) -> Law:
    def replicate(seed: str, flows: int) -> float:
        return statistics.fmean(s for _, s in stays(seed, sizes, load, flows, servers, engine))

    name = f"mean stay in M/{sizes.name}/{servers}-PS, load {load}{name}"
    return Law(name, mean_flows(load, servers) / (load * servers), replicate)


def _slowdown(size: float, load: float) -> Law:
    """Of flows of one size: stay over size, whatever the other flows; 1 / (1 - load).

    The number of such flows in a replication is random; that their mean is not biased by it, only
    the sum of the differences from theory is taken, over their expected number.
    """
    theory = 1 / (1 - load)

    def replicate(seed: str, flows: int) -> float:
        found = [s / b - theory for b, s in stays(seed, MIXED, load, flows) if b == size]
        return theory + sum(found) / (flows * THREE[size])

    return Law(
        f"stay over size of flows of size {size} in M/G/1-PS, load {load}", theory, replicate
    )


def _flows(sizes: Sizes, load: float, servers: int = 1) -> Law:
    def replicate(seed: str, flows: int) -> float:
        parts = occupancy(seed, sizes, load, 5 * flows / (load * servers), servers)
        return sum(n * part for n, part in parts.items())

    name = f"mean flows in M/{sizes.name}/{servers}-PS, load {load}"
    return Law(name, mean_flows(load, servers), replicate)


def _part(sizes: Sizes, load: float, n: int) -> Law:
    def replicate(seed: str, flows: int) -> float:
        return occupancy(seed, sizes, load, 5 * flows / load).get(n, 0.0)

    name = f"part of the time with {n} flows in M/{sizes.name}/1-PS, load {load}"
    return Law(name, (1 - load) * load**n, replicate)


def _round_of_k(n: int, k: int, late: LateAction = "cancel") -> Law:
    """Of rounds with the first k of n clients whose training takes an exponential time."""

    def replicate(seed: str, flows: int) -> float:
        draw = random.Random(seed)
        links = [ClientLink(1e6, 1e6, 0, draw.expovariate(1)) for _ in range(n * _rounds(flows))]
        return _mean_round_s(links, n, k, late, seed) - 0.016

    theory = sum(1 / (n - i) for i in range(k))
    return Law(f"seconds to {k} of {n} exponential trainings, late: {late}", theory, replicate)


def _round_of_jitter(n: int, k: int) -> Law:
    """Of rounds whose only delay is jitter: half an exponential round trip down, half one up."""
    t_s = np.linspace(0, 60, 600_001)
    ended = 1 - np.exp(-2 * t_s) * (1 + 2 * t_s)  # of the sum of two, mean 1/2 each
    fewer = sum(math.comb(n, i) * ended**i * (1 - ended) ** (n - i) for i in range(k))

    def replicate(seed: str, flows: int) -> float:
        links = [ClientLink(1e6, 1e6, 0, 0, jitter_s=1.0)] * (n * _rounds(flows))
        return _mean_round_s(links, n, k, "cancel", seed) - 0.016

    theory = float(np.trapezoid(fewer, t_s))
    return Law(f"seconds to {k} of {n} clients by jitter alone", theory, replicate)


def _rounds(flows: int) -> int:
    """Return how many rounds take about as much work as so many flows."""
    return flows // 10


def _mean_round_s(links: list[ClientLink], n: int, k: int, late: LateAction, seed: str) -> float:
    """Return the mean round of fleets of which every round asks n new clients."""
    rounds = len(links) // n
    cohorts = {r + 1: range(r * n, (r + 1) * n) for r in range(rounds)}
    learner = FakeLearner(down=1000, up=1000, examples=1)
    profile = network(seed=random.Random(seed).getrandbits(40))
    played = play(learner, profile, links, first_k(k, late), cohorts, n, rounds)
    return statistics.fmean(o.closed_at_s - o.opened_at_s for o in played)


def laws(piped: Engine) -> tuple[Law, ...]:
    """Return all laws that are tested; ``piped`` runs flows in simulated time."""
    every = (EQUAL, EXPONENTIAL, HYPER)
    return (
        *(_stay(EXPONENTIAL, load) for load in (0.3, 0.6, 0.8)),
        _stay(EXPONENTIAL, 0.6, engine=piped, name=", in simulated time"),
        *(_stay(sizes, 0.6) for sizes in (EQUAL, HYPER)),
        *(_slowdown(size, load) for load in (0.5, 0.7) for size in THREE),
        *(_flows(sizes, 0.6) for sizes in every),
        *(_part(sizes, 0.6, n) for sizes in every for n in (0, 1, 2, 5)),
        *(_stay(sizes, 0.7, servers=3) for sizes in every),
        *(_flows(sizes, 0.7, servers=3) for sizes in every),
        *(_round_of_k(10, k) for k in (1, 5, 8, 10)),
        _round_of_k(10, 5, "finish"),
        *(_round_of_jitter(10, k) for k in (1, 5, 10)),
    )
