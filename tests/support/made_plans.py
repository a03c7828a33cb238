"""A plan made by hand, with everything that a plan can say."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from floss_sim.analysis.on_test import AccuracyOnTest, DifferenceOnTest
from floss_sim.analysis.time_spread import TimeSpread
from planner.candidates import Candidate
from planner.forecasts.forecast import Forecast
from planner.forecasts.improvement import expected_improvement
from planner.forecasts.intervals import Interval
from planner.plans.answer import Answer
from planner.plans.cheaper_way import CheaperWay
from planner.plans.cluster_section import ClusterSection, FailedRun
from planner.plans.elsewhere import TimesElsewhere
from planner.plans.explanation import Explanation, MoreBudget, Neighbour, Range, RoundTime, StopRule
from planner.plans.outcome import Outcome
from planner.plans.plan import Plan
from planner.plans.prior_section import PriorSection
from planner.plans.rate_test import RatePair, RateTest
from planner.plans.stored_run import StoredRun
from planner.plans.straggler_section import LinkSection, SlowFleetsSection, StragglerSection
from planner.plans.time_section import TimeSection
from planner.plans.usage_section import UsageSection
from planner.question.budget import Limit, parse_budget


def mirrored(low: float, mean: float) -> float:
    """Return the upper end of an interval that is symmetric in log-odds."""
    odds = (mean / (1 - mean)) ** 2 / (low / (1 - low))
    return odds / (1 + odds)


def on_test(accuracy: float, examples: int = 340) -> AccuracyOnTest:
    """Return a test accuracy of three models and one seed, 2 points above the lower end."""
    low = accuracy - 0.02
    return AccuracyOnTest(low, accuracy, mirrored(low, accuracy), examples, 3)


def outcome(rank: int, accuracy: float, nbytes: int = 400_000, **changes: Any) -> Outcome:
    """Return a finished run of 20 rounds that takes ``nbytes`` of a megabyte each way."""
    spent = 2 * nbytes / 1e6
    curve = ((10, spent / 2, accuracy - 0.1), (20, spent, accuracy))
    made = Outcome(
        candidate=Candidate(rank, 1.0, 1 / 16),
        rounds=20,
        accuracy=accuracy,
        loss=0.1,
        down_bytes=nbytes,
        up_bytes=nbytes,
        own_fleet_s=3.4,
        time=TimeSpread((3.4, 3.0, 5.0), "closed form"),
        spent=spent,
        most=spent / 20,
        binds="budget",
        cohort=5,
        curve=curve,
        usage=UsageSection(busiest_device_bytes=nbytes // 8, mean_device_bytes=2 * nbytes / 50),
    )
    return replace(made, **changes)


def whole_plan() -> Plan:
    """Return a plan with runners-up, a missing baseline, an explanation and answers."""
    best = outcome(
        4, 0.95, test=on_test(0.94),
        interval=Interval(0.93, 0.95, mirrored(0.93, 0.95), "measured"),
        down_bytes=304_000, up_bytes=496_000,
    )  # fmt: skip
    dense = outcome(16, 0.90, 450_000, test=on_test(0.91), candidate=Candidate(16, 1.0, 1.0))
    effort = {"search": "race", "searched": 5, "unaffordable": 2, "starters": 4,
              "grid_rounds": 100, "limit_rounds": 20, "search_rounds": 20,
              "seed_rounds": 4, "ended_early": False,
              "trained_now_rounds": 7, "trained_now_runs": 2, "runs": 5,
              "replicated": 1, "seeds": (0, 1),
              "prior": PriorSection(
                  grids=("chat", "cifar10"), left_out=("digits",), weight=0.4, finished=False,
                  favourite=replace(best.candidate, up_density=1 / 4), favourite_rounds=12,
              ).to_json(),
              "cluster": ClusterSection(
                  failed=(FailedRun(candidate=best.candidate, seed=1, reason="a worker died"),),
                  mixed_runs=1, machines=("x86_64, AVX2, one", "x86_64, AVX512, other"),
              ).to_json()}  # fmt: skip
    return Plan(
        request={
            "task": "digits", "network": "paper", "reference_rank": 16, "max_rounds": 400,
            "search": "race", "seed": 0, "effort": 0.2,
            "judged": {"what": "examples", "validation": 350, "test": 340}, "origin": None,
        },
        limit=Limit(parse_budget("1MB"), 1e6, (), 5),
        recommendation=best,
        runners_up=(outcome(1, 0.945, 450_000), dense),
        best_accuracy=0.95,
        margin=0.016,
        baselines={"dense": dense, "thesis_rule": None},
        missing_baselines={"thesis_rule": "budget"},
        test_differences={"dense": DifferenceOnTest(0.01, 0.03, 0.05, 340)},
        effort=effort,
        costs=costs(best.candidate),
        baseline_costs={"dense": costs(best.candidate)[-1]},
        explanation=explanation(best.candidate),
        also=answers(best.candidate),
        chance=0.12,
        traffic_alone=True,
        straggler=straggler(),
        slow_fleets=SlowFleetsSection(fleets=2, draws=3, worst_link=straggler().link),
        elsewhere=(TimesElsewhere("lte", {
            "plan": TimeSpread((8.0, 7.0, 12.0), "closed form"),
            "dense": TimeSpread((9.5,), "probed"),
        }),),
        better_stored=StoredRun(
            candidate=replace(best.candidate, rank=16), rounds=20, accuracy=0.98,
            interval=Range(low=0.97, mean=0.98, high=mirrored(0.97, 0.98)), total_bytes=4_000_000,
            budget_spent=4.0,
        ),
        rate_test=rate_test(),
        cheaper=(
            CheaperWay(0.5, Candidate(4, 1.0, 1 / 4), 10, 90_000,
                       Interval(0.8, 0.85, mirrored(0.8, 0.85), "measured")),
        ),
    )  # fmt: skip


def rate_test() -> RateTest:
    """Return a test of three pairs of learning rates, of which one is clearly better."""
    better = RatePair(client_lr=0.05, server_lr=0.015, accuracy=0.8)
    own = RatePair(client_lr=0.05, server_lr=0.005, accuracy=0.6)
    other = RatePair(client_lr=0.05, server_lr=0.00166667, accuracy=None)
    return RateTest(
        rank=16, rounds=20, examples=350, client_lr=0.05, server_lr=0.005,
        tested=(other, own, better), better=better, trained_now_rounds=40,
    )  # fmt: skip


def costs(best: Candidate) -> tuple[dict[str, Any], ...]:
    """Return the costs of a candidate, its neighbours and dense LoRA."""
    told = {"down_bytes": 3000, "up_bytes": 5000, "round_s": 0.17, "up_error": 0.02}
    affordable = {
        best: 24,
        replace(best, rank=1): 22,
        replace(best, up_density=1 / 4): 12,
        replace(best, up_density=1 / 64): 21,
        Candidate(16, 1.0, 1.0): 21,
    }
    return tuple({**c.settings(), **told, "affordable_rounds": n} for c, n in affordable.items())


def explanation(best: Candidate) -> Explanation:
    """Return an explanation with a neighbour of each kind."""
    range_ = Range(low=0.9, mean=0.92, high=mirrored(0.9, 0.92))
    return Explanation(
        spent_on_uploads=0.62,
        time=RoundTime(
            round_s=0.17, download=0.2, upload=0.5, latency=0.2, compute=0.1, queueing=0.0,
            waiting=0.25,
        ),
        neighbours=(
            Neighbour(axis="rank", candidate=replace(best, rank=1), rounds=20, kind="measured",
                      accuracy=0.945),
            Neighbour(axis="up_density", candidate=replace(best, up_density=1 / 4), rounds=12,
                      kind="forecast", accuracy=0.92, interval=range_),
            Neighbour(axis="up_density", candidate=replace(best, up_density=1 / 64), rounds=21,
                      kind="unknown"),
        ),
        tenth=MoreBudget(
            rounds=25, accuracy=Range(low=0.94, mean=0.955, high=mirrored(0.94, 0.955))
        ),
        stop=StopRule(candidate=replace(best, up_density=1 / 4), rounds=8,
                      gain=expected_improvement(Forecast(0.92, 0.02), 0.95),
                      noise=math.sqrt(0.95 * 0.05 / 350), forecast_mean=0.92, forecast_sd=0.02,
                      all_rounds=29, all_gain=0.0024),
    )  # fmt: skip


def straggler() -> StragglerSection:
    """Return the client that decides the time of the recommended run."""
    return StragglerSection(
        client=7, rounds=4, all_rounds=20, round_s=0.4, round_without_s=0.15, run_s=3.4,
        run_without_s=2.4, deadline_s=0.2, deadline_run_s=2.6, deadline_lost=0.04, cohort=5,
        selection_run_s=2.5,
        link=LinkSection(down_bits_per_s=1e6, up_bits_per_s=5e5, rtt_s=0.08,
                         compute_s_per_example=0.0),
    )  # fmt: skip


def answers(best: Candidate) -> tuple[Answer, ...]:
    """Return an answer of each kind."""
    told = {
        "candidate": best,
        "rounds": 9,
        "affords": 9,
        "simulated_s": 4.0,
        "total_bytes": 1e4,
        "time": TimeSection.of(TimeSpread((4.0, 6.0, 3.0), "closed form")),
        "usage": UsageSection(busiest_device_bytes=900, mean_device_bytes=1e4 / 50),
    }
    counts = {"measured": 2, "searched": 8}
    return (
        Answer(network="paper", budget="2MB", limit="2 MB in all", kind="measured", accuracy=0.95,
               interval=Range(low=0.93, mean=0.95, high=mirrored(0.93, 0.95)),
               **told, **counts),
        Answer(network="lte", budget="1h", limit="1 h of simulated time", kind="forecast",
               accuracy=0.96, interval=Range(low=0.95, mean=0.96, high=mirrored(0.95, 0.96)),
               confirm_rounds=130, confirm_s=40.0, **told, **counts),
        Answer(network="lte", budget="9s", limit="9 s of simulated time", kind="unknown",
               confirm_rounds=3),
    )  # fmt: skip
