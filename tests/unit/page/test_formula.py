"""The formula of pages in a JavaScript engine, against the simulator and against the planner."""

from __future__ import annotations

import base64
import gzip
import math
import random
from functools import cache
from statistics import NormalDist

import numpy as np
import pytest
from formula_engine import FormulaEngine
from made_plans import outcome

from floss_sim import RunConfig, floss, load_profile, load_task, retime, size_only
from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.time_spread import fleet_quantile
from floss_sim.analysis.traffic import Traffic
from floss_sim.network.named_changes import with_changes
from floss_sim.page.formula_data import FormulaData
from floss_sim.page.shown import (
    Choice,
    ShownConfiguration,
    ShownNetwork,
    unserved_reason,
    without_first,
)
from planner.decisions.recommend import HALF_BYTES_WORTH, TIE_ERRORS, choose, options
from planner.forecasts.intervals import LEVEL, Interval

CLIENTS, ROUNDS, TOLERANCE = 50, 6, 1e-9
GRPC = """
name = "grpc"
source = "made"
date = "2026"
first_download = "300 kB"
[[clients]]
share = 0.5
down = { median = "20 Mbit/s", sigma = 0.8 }
up = "2 Mbit/s"
rtt = { median = "60 ms", sigma = 0.4 }
compute_per_example = "2 ms"
loss = 0.01
[[clients]]
share = 0.5
down = "200 Mbit/s"
up = "20 Mbit/s"
rtt = "5 ms"
compute = { flops = "20 GFLOP/s" }
[transport]
framing = "grpc"
tls = true
headers = "ipv4"
connection = "new"
slow_start = true
"""
NETWORKS = ("paper-200-20", "lte", "grpc")
PLAIN = {"down": 1, "up": 1, "ratio": 0, "rtt": None, "compute": 1, "budget": 1, "network": 0}


@cache
def record(up: float):
    config = RunConfig.of(load_task("digits"), floss(1 / 4, up), rank=4)
    return size_only(config, load_profile("paper-200-20"), rounds=ROUNDS)


def configuration(up: float, accuracy: float) -> ShownConfiguration:
    run, first = without_first(Traffic.of(record(up)))
    nbytes = run.nbytes()
    last = [accuracy + 0.01 * k for k in range(ROUNDS)]
    figures = (last, [a - 0.02 for a in last], [a + 0.02 for a in last], nbytes.tolist())
    return ShownConfiguration(f"up {up}", (run,), first, range(1, ROUNDS + 1), figures, "runs/one")


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> list[ShownNetwork]:
    path = tmp_path_factory.mktemp("networks") / "grpc.toml"
    path.write_text(GRPC, encoding="utf-8")
    profiles = (load_profile(str(path) if name == "grpc" else name) for name in NETWORKS)
    return [ShownNetwork(one.name, one, "", CLIENTS) for one in profiles]


@pytest.fixture(scope="module")
def engine(networks) -> FormulaEngine:
    made = [configuration(1 / 16, 0.5), configuration(1.0, 0.52)]
    return FormulaEngine.of_data(FormulaData(networks, made, Choice("seconds", 1.0)))


def random_settings(draw: random.Random) -> tuple[dict, dict]:
    """Return settings of the sliders, and the same as named changes."""
    ratio, rtt = draw.choice([0, draw.uniform(1, 64)]), draw.choice([None, draw.uniform(0, 0.5)])
    factors = {name: 2 ** draw.uniform(-4, 4) for name in ("down", "up", "compute")}
    changes = {f"scale-{name}": repr(value) for name, value in factors.items()}
    changes |= {"upload-ratio": repr(ratio)} if ratio else {}
    changes |= {} if rtt is None else {"rtt": f"{rtt!r}s"}
    return {**PLAIN, **factors, "ratio": ratio, "rtt": rtt}, changes


@pytest.mark.parametrize("number", range(len(NETWORKS)), ids=NETWORKS)
def test_seconds_are_those_of_the_simulator_at_any_settings(engine, networks, number: int):
    draw, network = random.Random(number), networks[number]
    assert unserved_reason(network, [Traffic.of(record(1.0))]) is None
    for k, up in ((0, 1 / 16), (1, 1.0)) * 4:
        settings, changes = random_settings(draw)
        told = engine.call("timesAt", k, {**settings, "network": number})
        profile = with_changes(network.profile, changes)
        simulated = retime(record(up), profile).rounds["closed_at_s"].to_numpy()
        assert told["times"][0] == pytest.approx(simulated, rel=TOLERANCE, abs=0)
        assert sum(told["parts"]) == pytest.approx(simulated[-1] / ROUNDS, rel=TOLERANCE)
        if len(told["times"]) == 1:
            continue
        run = Traffic.of(record(up)).with_first(profile.first_download)
        fleets = Fleets.of(profile, CLIENTS).times(run).closed_at_s
        assert np.array(told["times"]) == pytest.approx(fleets, rel=TOLERANCE, abs=0)
        quantiles = engine.call("(t, q) => quantile(t.map((r) => r[5]), q)", told["times"], 0.95)
        assert quantiles == pytest.approx(fleet_quantile(fleets[:, 5], 0.95), rel=TOLERANCE)


def test_limits_of_seconds_a_round_and_targets_count(networks):
    made = [configuration(1 / 16, 0.5), configuration(1.0, 0.51)]
    ends = [float(Fleets.of(networks[0].profile, CLIENTS).clocks[0].closing_times(one.runs[0])[-1])
            for one in made]  # fmt: skip
    assert ends[0] < ends[1]

    def told(**changes):
        choice = Choice("seconds", 2 * ends[1], half=0.001, **changes)
        return FormulaEngine.of_data(FormulaData(networks, made, choice)).call("answerOf", PLAIN)

    assert (told()["best"], told()["rounds"]) == (1, [ROUNDS, ROUNDS])
    limited = told(most_round_s=(ends[0] + ends[1]) / 2 / ROUNDS)
    assert (limited["best"], limited["rounds"]) == (0, [ROUNDS, None])
    assert told(target=0.515) | {"amount": 0} == {"amount": 0, "rounds": [3, 2], "best": 0}
    assert told(target=0.9) == told()


def test_the_choice_is_the_planners():
    draw = random.Random(0)
    level = 2 * NormalDist().inv_cdf((1 + LEVEL) / 2)
    rule = {"tie": TIE_ERRORS * math.sqrt(2) / level, "half": HALF_BYTES_WORTH}
    engine = FormulaEngine({}, [], base64.b64encode(gzip.compress(b"")).decode())
    for _ in range(60):
        finished, ended, told = {}, {}, []
        for rank in range(1, 9):
            mean, half, is_open = draw.uniform(0.9, 0.95), draw.uniform(0.002, 0.02), rank > 5
            interval = Interval(mean - half, mean, mean + half, "measured")
            made = outcome(rank, mean, draw.randrange(10_000, 900_000), interval=interval)
            (ended if is_open else finished)[made.candidate] = made
            ends = {"mean": mean, "low": interval.low, "high": interval.high}
            told.append({**ends, "bytes": made.total_bytes, "open": is_open, "rank": rank})
        expected = choose(list(options(finished, ended, []).values()), 350).recommendation
        chosen = engine.call("(rule, all) => bestOutcome({ rule }, all).rank", rule, told)
        assert chosen == expected.candidate.rank
