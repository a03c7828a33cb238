"""Every simulated time of a plan's page, computed again from the records by other code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from networks import DRAWN
from numpy.typing import NDArray

from floss_sim import RunRecord, load_profile, retime
from floss_sim.network import NetworkProfile
from floss_sim.protocol.sampling import draw_cohort
from floss_sim.units import format_duration, parse_duration
from planner import Request, grid, plan
from planner.execution.curve_store import CurveStore
from planner.plans.outcome import Outcome
from planner.plans.plan import Plan
from planner.plans.plan_file import plan_of
from planner.report.reported_plan import ReportedPlan
from planner.report.time_text import time_columns, time_rows

SHARED = '[server]\negress = "4 Mbit/s"\n'
ONE_SLOW = """
name = "slow"
source = "made"
date = "2026"
[fleet]
law = "table"
file = "rows.csv"
rtt = "20 ms"
compute_per_example = "1 ms"
"""
SETTINGS = {
    "candidates": grid([1, 2], [1.0], [1.0, 1 / 4]),
    "reference_rank": 2,
    "max_rounds": 5,
    "effort": 1,
}


@dataclass(frozen=True)
class Made:
    """A plan, its request, and the store of its runs."""

    plan: ReportedPlan
    request: Request
    store: CurveStore

    def record(self, outcome: Outcome) -> RunRecord:
        return self.store.folder(self.request.config(outcome.candidate)).record()

    def runs(self) -> dict[str, Outcome]:
        others = {f"#{i}": made for i, made in enumerate(self.plan.runners_up)}
        trained = {name: made for name, made in self.plan.baselines.items() if made}
        return {"plan": self.plan.recommendation, **others, **trained}


@pytest.fixture(scope="module", params=["lte", "shared"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp(request.param)
    network, budget = "lte", "1.5s"
    if request.param == "shared":
        network, budget = str(folder / "shared.toml"), "1.6s@80%"
        Path(network).write_text(DRAWN + SHARED, encoding="utf-8")
    asked = Request.of("digits", network, budget=budget, **SETTINGS)
    found = plan(asked, store=folder / "store", device="cpu", workers=1)
    return Made(found, asked, CurveStore(folder / "store", "cpu"))


def seconds_by_fleet(record: RunRecord, profile: NetworkProfile, rounds: int) -> list[float]:
    """Return the seconds of a run on each fleet, computed from its table of transfers."""
    if np.isinf(profile.alone_bits_per_s("down")):
        fleets = [profile.model_copy(update={"seed": profile.seed + s}) for s in range(40)]
        slowest = (client_seconds(record, fleet, rounds)[0].max(axis=1) for fleet in fleets)
        return [float(slowest_R.sum()) for slowest_R in slowest]
    fleets = [profile.model_copy(update={"seed": profile.seed + s}) for s in range(20)]
    closed = (retime(record, fleet).rounds["closed_at_s"] for fleet in fleets)
    return [column[rounds - 1].as_py() for column in closed]


def client_seconds(
    record: RunRecord, fleet: NetworkProfile, rounds: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the seconds of each client in each round if clients share nothing, and its number."""
    links, cohort = fleet.links(50), 5
    seconds_RC = np.zeros((rounds, cohort))
    clients_RC = np.zeros((rounds, cohort), dtype=np.int64)
    for row in record.transfers.to_pylist():
        link, up = links[row["client"]], row["direction"] == "up"
        assert (link.jitter_s, link.loss) == (0, 0)
        if row["round"] > rounds:
            continue
        place = divmod(row["sequence"], cohort)
        clients_RC[place] = row["client"]
        rate = link.up_bits_per_s if up else link.down_bits_per_s
        seconds_RC[place] += link.rtt_s / 2 + 8 * row["nbytes"] / rate
        if up:
            seconds_RC[place] += row["examples"] * link.compute_s_per_example
    return seconds_RC, clients_RC


def quantile(seconds: list[float], fraction: float) -> float:
    """Return the value at place ``fraction`` (F + 1) of F sorted ones, linear between two."""
    ordered = sorted(seconds)
    place = min(max(fraction * (len(ordered) + 1), 1), len(ordered))
    below = int(place)
    above = min(below + 1, len(ordered))
    return ordered[below - 1] + (place - below) * (ordered[above - 1] - ordered[below - 1])


def is_shared(made: Made) -> bool:
    """Return whether clients share the server's capacity, so that rounds are simulated."""
    return not np.isinf(made.request.profile.alone_bits_per_s("down"))


def draws_of(made: Made, outcome: Outcome) -> NDArray[np.float64]:
    profile = made.request.profile
    return np.array(seconds_by_fleet(made.record(outcome), profile, outcome.rounds))


def test_times_are_those_of_forty_or_twenty_fleets_with_the_cohorts_of_the_run(made: Made):
    method, draws = ("simulated", 20) if is_shared(made) else ("closed form", 40)
    for outcome in made.runs().values():
        own, told = draws_of(made, outcome), outcome.to_json()["time"]
        assert outcome.time.seconds == pytest.approx(own, rel=1e-9)
        assert len(own) == draws
        assert len(np.unique(own)) > draws // 2
        assert (told["method"], told["draws"]) == (method, draws)
        assert told["seconds"][0] == pytest.approx(outcome.own_fleet_s)
        for name, fraction in (("low_s", 0.05), ("median_s", 0.5), ("high_s", 0.95)):
            assert told[name] == pytest.approx(quantile(own, fraction), rel=1e-9)


def test_runs_are_compared_on_the_same_fleets(made: Made):
    content, mine = made.plan.to_json(), draws_of(made, made.plan.recommendation)
    pairs = list(zip(made.plan.runners_up, content["runners_up"], strict=True))
    pairs += [(o, content["baselines"][name]) for name, o in made.plan.baselines.items() if o]
    shares = set()
    for outcome, told in pairs:
        share = float((mine < draws_of(made, outcome)).mean())
        if outcome.candidate == made.plan.recommendation.candidate:
            share = None
        assert told["plan_faster"] == (share if share is None else pytest.approx(share))
        shares.add(share)
    if made.plan.request["network"] != "lte":  # where the plan is slower than both baselines
        assert shares - {None, 0.0, 1.0} or len(shares) > 1
    assert content["recommendation"]["plan_faster"] is None


def test_the_share_of_fleets_in_time_is_that_of_the_budget(made: Made):
    own, amount = draws_of(made, made.plan.recommendation), made.request.budget.amount
    confidence = 0.8 if is_shared(made) else 0.5
    assert made.plan.to_json()["in_time"] == pytest.approx(float((own <= amount).mean()))
    for outcome in made.runs().values():
        counted = quantile(draws_of(made, outcome), confidence)
        assert outcome.spent == pytest.approx(counted / amount)
    (said,) = (line for line in made.plan.summary().splitlines() if line.startswith("The budget "))
    share = f"{100 * float((own <= amount).mean()):.0f} %"
    if not is_shared(made):
        assert said == (
            "The budget is planned for the median of fleets: the plan ends within 1.5 s on "
            f"{share} of these; 1.5s@95% plans for 95 % of them."
        )
    else:
        assert said == (
            f"The budget is planned for 80 % of fleets: the plan ends within 1.6 s on {share} of "
            "these."
        )


def test_times_on_other_networks_are_medians_of_their_fleets(made: Made):
    found = {times.network: times.times for times in made.plan.elsewhere}
    assert made.request.profile.name not in found
    assert found.keys() | {made.request.profile.name} >= {"lte", "mobile-mixed", "wifi"}
    trained = {name: o for name, o in made.plan.baselines.items() if o}
    for network, times in found.items():
        assert times.keys() == {"plan", *trained}
        for name, outcome in {"plan": made.plan.recommendation, **trained}.items():
            own = seconds_by_fleet(made.record(outcome), load_profile(network), outcome.rounds)
            assert times[name].median_s == pytest.approx(quantile(own, 0.5), rel=1e-9)
            assert times[name].low_s == pytest.approx(quantile(own, 0.05), rel=1e-9)
            assert times[name].high_s == pytest.approx(quantile(own, 0.95), rel=1e-9)


def test_the_page_shows_these_figures(made: Made):
    page, best = made.plan.summary(), made.plan.recommendation
    own = draws_of(made, best)
    middle, low, high = (format_duration(quantile(own, q)) for q in (0.5, 0.05, 0.95))
    assert (
        f"{middle} of simulated time in the median of fleets (5 to 95 %: {low} to {high})." in page
    )
    assert (
        f"A round takes {format_duration(quantile(own, 0.5) / best.rounds)} in the median" in page
    )
    assert f"Times are medians over {len(own)} fleets that the network" in page
    assert time_columns(made.plan)[:4] == ("", "time", "5-95 %", "slower")
    rows = {row[0]: row for row in time_rows(made.plan)}
    dense = made.plan.baselines["dense"]
    others = draws_of(made, dense)
    same = dense.candidate == best.candidate
    share = "" if same else f"{100 * float((own < others).mean()):.0f} %"
    assert parse_duration(rows["plan"][1]) == pytest.approx(quantile(own, 0.5), rel=0.0051)
    assert rows["plan"][3] == ""
    shown = parse_duration(rows["dense LoRA"][1])
    assert shown == pytest.approx(quantile(others, 0.5), rel=0.0051)
    assert rows["dense LoRA"][3] == share
    assert (f"The plan is faster than dense LoRA on {share}" in page) is not same
    for row in rows.values():
        assert row[1] in page


def test_slow_fleets_are_those_on_which_one_client_takes_most_of_the_time(made: Made):
    if is_shared(made):
        assert made.plan.slow_fleets is None  # clients share capacity
        return
    best, profile = made.plan.recommendation, made.request.profile
    record, slow = made.record(best), 0
    fleets = [profile.model_copy(update={"seed": profile.seed + s}) for s in range(40)]
    for fleet in fleets:
        seconds_RC, clients_RC = client_seconds(record, fleet, best.rounds)
        whole = seconds_RC.max(axis=1).sum()
        least = min(
            np.where(clients_RC == client, 0.0, seconds_RC).max(axis=1).sum()
            for client in np.unique(clients_RC)
        )
        slow += least < whole / 2
    found = made.plan.to_json()["slow_fleets"]
    assert (found["fleets"] if found else 0) == slow


def test_a_plan_is_read_with_its_times(made: Made):
    content = json.loads(json.dumps(made.plan.to_json()))
    again: Plan = plan_of(content, "plan.json")
    assert ReportedPlan.of(again).summary() == made.plan.summary()
    assert again.to_json() == made.plan.to_json()


def test_a_client_that_decides_the_time_is_named(tmp_path: Path):
    """All clients have the same link, but one of the first cohort has a thousandth of the rates."""
    asked = Request.of("digits", "paper-200-20", budget="1GB", **SETTINGS)
    slow = draw_cohort(asked.seed, 1, 50, 5).clients[2]
    rows = [f"{1e4:g},{1e3:g}" if client == slow else "1e7,1e6" for client in range(50)]
    table = "\n".join(["down_bits_per_s,up_bits_per_s", *rows])
    (tmp_path / "rows.csv").write_text(table + "\n", encoding="utf-8")
    (tmp_path / "slow.toml").write_text(ONE_SLOW, encoding="utf-8")
    asked = Request.of("digits", str(tmp_path / "slow.toml"), budget="1GB", **SETTINGS)
    found = plan(asked, store=tmp_path / "store", device="cpu", workers=1)
    named, best = found.straggler, found.recommendation
    record = CurveStore(tmp_path / "store", "cpu").folder(asked.config(best.candidate)).record()
    closed_R = np.array(retime(record, asked.profile).rounds["closed_at_s"])[: best.rounds]
    without_R = np.array(retime(record, load_profile("paper-200-20")).rounds["closed_at_s"])
    assert (named.client, named.all_rounds, named.cohort) == (slow, best.rounds, 5)
    assert named.run_s == pytest.approx(closed_R[-1])
    assert without_R[-1] < named.run_without_s < closed_R[-1] / 2
    page = found.summary()
    assert f"Client {slow} (10 kbit/s down, 1 kbit/s up, round trip 20 ms, 1 ms an example)" in page
    assert f"instead of {format_duration(best.own_fleet_s)}." in page
    assert "In floss-sim run it is removed by --" in page
    assert (
        ReportedPlan.of(plan_of(json.loads(json.dumps(found.to_json())), "plan")).summary() == page
    )
