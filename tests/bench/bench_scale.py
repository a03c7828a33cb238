"""Large fleets, large rounds: work counts are asserted, seconds and ratios are printed.

make bench
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
import simpy
from places import EXPERIMENTS

from floss_sim import RunConfig, floss, load_profile, load_task, size_only
from floss_sim.network import NetworkProfile
from floss_sim.runs.retiming import retime
from floss_sim.runs.size_only_learner import SameExamples, SizeOnlyLearner
from floss_sim.simulator import simulate, wait_all

CASE = EXPERIMENTS / "scale" / "case.py"
MOBILE = str(CASE.with_name("mobile.toml"))
NETWORKS = (str(CASE.with_name("classes.toml")), MOBILE)
# Of a client: its start and end, both legs (the last bit, its arrival), training, the server's
# wake-up in two, and for each leg a wake-up of the pipe and a recomputation at start and end.
MOST_EVENTS = 15
GB = 1000  # MB


def case(**said: object) -> dict[str, float]:
    """Return what ``experiments/scale/case.py`` measures, in a process of its own."""
    options = [part for key, value in said.items() for part in (f"--{key}", str(value))]
    command = [sys.executable, str(CASE), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    clients = found["transfers"] / 2
    name = Path(str(said["network"])).stem
    print(
        f"\n{name}, {said['cohort']} of {said['fleet']} clients, {clients:.0f} participations: "
        f"{found['seconds']:.1f} s ({found['cpu_s']:.1f} s of processor), "
        f"{found['peak_mb']:.0f} MB, {found['events'] / clients:.1f} events and "
        f"{found['moves'] / clients:.1f} moves a participation"
    )
    return found


@pytest.mark.parametrize("network", NETWORKS)
def test_a_cohort_of_a_thousand_out_of_a_million_for_200_rounds(network: str):
    found = case(fleet=1_000_000, cohort=1000, rounds=200, network=network)
    assert found["transfers"] == 2 * 200 * 1000
    assert found["events"] <= MOST_EVENTS * 200 * 1000
    assert found["moves"] <= 2 * found["transfers"]
    assert found["peak_mb"] < GB


@pytest.mark.parametrize("network", NETWORKS)
def test_131072_clients_in_one_round(network: str):
    found = case(fleet=131_072, cohort=131_072, network=network)
    assert found["transfers"] == 2 * 131_072
    assert found["events"] <= MOST_EVENTS * 131_072
    assert found["moves"] <= 2 * found["transfers"]
    assert found["peak_mb"] < GB


@pytest.mark.parametrize("cells", [0, 20])
def test_work_grows_with_the_cohort_and_no_faster(cells: int):
    small, large = (case(fleet=n, cohort=n, network=MOBILE, cells=cells) for n in (1000, 8000))
    for what in ("events", "moves"):
        assert large[what] <= 8.4 * small[what]


@contextmanager
def counted_clocks() -> Iterator[list[simpy.Environment]]:
    """Yield the clocks that are made meanwhile; each numbers its events."""
    clocks: list[simpy.Environment] = []
    begin = simpy.Environment.__init__
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            simpy.Environment, "__init__", lambda env: (clocks.append(env), begin(env))[1]
        )
        yield clocks


def config() -> RunConfig:
    return RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=16)


def one_round(profile: NetworkProfile, clients: int) -> float:
    """Return the processor seconds of a round without its records, the cycle collector off."""
    settings = config()
    examples = SameExamples(clients, 29)
    learner = SizeOnlyLearner(settings.sizes, examples)
    gc.disable()
    began = time.process_time()
    (outcome,) = simulate(
        learner,
        profile,
        profile.links(clients),
        wait_all(),
        lambda r, _: range(clients),
        clients,
        1,
    )
    took = time.process_time() - began
    gc.enable()
    assert outcome.reports == clients
    return took


def bare(events: int, clients: int) -> float:
    """Return those of as many live SimPy processes that do nothing but wait, in as many events.

    As in ours, the cycle collector stays out.
    """

    def wait(times: int, seconds: float):
        for _ in range(times):
            yield env.timeout(seconds)

    gc.disable()
    began = time.process_time()
    env = simpy.Environment()
    times, more = divmod(events - 2 * clients, clients)  # each process has a start and an end
    for i in range(clients):
        env.process(wait(times + (i < more), 1 + (i * 0.618034) % 1))
    env.run()
    gc.enable()
    return time.process_time() - began


@pytest.mark.parametrize("clients", [1000, 10_000, 50_000])
@pytest.mark.parametrize("network", NETWORKS)
def test_events_a_second_against_bare_simpy(network: str, clients: int):
    profile = load_profile(network).with_changes(
        "shared", egress=20e6 * clients, ingress=6e6 * clients
    )
    with counted_clocks() as clocks:
        one_round(profile, clients)
    events = next(clocks[0]._eid)
    assert events <= MOST_EVENTS * clients
    pairs = [(one_round(profile, clients), bare(events, clients)) for _ in range(5)]
    ours, theirs = (median(column) for column in zip(*pairs, strict=True))
    print(
        f"\n{Path(network).stem}, {clients} clients at once, {events / clients:.1f} events each: "
        f"{events / ours / 1e3:.0f} thousand events/s, bare SimPy {events / theirs / 1e3:.0f}: "
        f"ratio {theirs / ours:.2f}"
    )


def test_a_recorded_run_on_six_networks():
    settings = config()
    record = size_only(settings, load_profile("paper-200-20"), 200)
    record = replace(record, description={"trajectory": settings.settings()})
    names = ("3g", "lte", "cable", "wifi", "satellite", "mobile-mixed")
    profiles = [load_profile(name) for name in names]
    with counted_clocks() as clocks:
        began, cpu_s = time.perf_counter(), time.process_time()
        for profile in profiles:
            retime(record, profile)
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
    print(f"\n200 rounds of 5 clients on 6 networks: {seconds:.2f} s ({cpu_s:.2f} of processor)")
    # Of a client 7, nothing being shared, and 2 to wake the server; of a round a few.
    assert sum(next(clock._eid) for clock in clocks) <= 6 * 200 * (5 * 9 + 3)
