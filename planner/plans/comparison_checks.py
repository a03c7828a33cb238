"""Contradictions between a plan and its comparisons: baselines, test, cheaper ways, networks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from floss_sim.analysis.on_test import AccuracyOnTest, DifferenceOnTest
from floss_sim.analysis.time_spread import TimeSpread
from planner.candidates import Candidate
from planner.forecasts.intervals import Interval
from planner.plans.cheaper_way import SHARES, CheaperWay
from planner.plans.elsewhere import NETWORKS, PLAN
from planner.plans.evidence_checks import outside_space
from planner.plans.missing_baseline import DIVERGED, NOT_PRIVATE, NOT_REACHED
from planner.plans.outcome import EFFORT, Outcome
from planner.plans.plan import Plan

_SAME = 1e-9  # relative difference of equal figures
_NEAR = 1e-6  # relative difference of figures that are computed in different ways
_LIMITS = {  # of the request, by the reason for which a baseline has no run
    "round_s": "max_round_s", "client_bytes": "max_client_bytes", "epsilon": "privacy",
    NOT_PRIVATE: "privacy",
}  # fmt: skip


def comparison_contradictions(plan: Plan) -> Iterator[str]:
    """Yield the contradictions between a plan's runs and what they are compared with."""
    yield from _baselines(plan)
    yield from _ended(plan, plan.runs)
    yield from _chance(plan)
    yield from _test(plan, plan.runs)
    yield from _cheaper(plan, plan.runs)
    yield from _elsewhere(plan)


def _same(one: float, other: float, within: float = _SAME) -> bool:
    return math.isclose(one, other, rel_tol=within, abs_tol=1e-12)


def _baselines(plan: Plan) -> Iterator[str]:
    """Yield a reason or a cost of a baseline that contradicts its run or the request."""
    lacking = {name for name, made in plan.baselines.items() if made is None}
    if plan.missing_baselines and plan.missing_baselines.keys() != lacking:
        yield f"missing_baselines: those without a run are {', '.join(sorted(lacking)) or 'none'}"
    for name, reason in plan.missing_baselines.items():
        limit, begun = _LIMITS.get(reason), reason in (DIVERGED, NOT_REACHED)
        if limit and not plan.request.get(limit):
            yield f"missing_baselines.{name}: {reason!r} needs request.{limit}"
        if begun and name not in plan.baseline_costs:
            yield f"missing_baselines.{name}: {reason!r}, but it has no baseline_costs"
        if limit and name in plan.baseline_costs:
            yield f"missing_baselines.{name}: {reason!r}, but it has baseline_costs"
    searched = {Candidate.of_settings(cost): cost for cost in plan.costs}
    for name, cost in plan.baseline_costs.items():
        made, candidate = plan.baselines[name], Candidate.of_settings(cost)
        if made and made.candidate != candidate:
            yield f"baseline_costs.{name}: {candidate} is not this baseline, {made.candidate}"
        if searched.get(candidate, cost) != cost:
            yield f"baseline_costs.{name}: it differs from that of {candidate} in costs"


def _ended(plan: Plan, runs: Mapping[str, Outcome]) -> Iterator[str]:
    """Yield a run that the effort cannot have ended, or that cannot be among the choices."""
    baselines = {made.candidate for made in plan.baselines.values() if made}
    finished = [made.expected_accuracy for made in runs.values() if made.binds != EFFORT]
    for name, made in runs.items():
        if made.binds != EFFORT:
            continue
        affordable = plan.affordable_rounds(made.candidate)
        if affordable is not None and made.rounds >= affordable:
            yield f"{name}.binds: {EFFORT!r}, but the budget affords {affordable} rounds"
        ahead = made.expected_accuracy > max(finished, default=0.0)
        if not (made.candidate in baselines or ahead or _is_cheaper_way(made, runs.values())):
            yield f"{name}.binds: {EFFORT!r}, but finished runs are as good"


def _is_cheaper_way(made: Outcome, runs: Iterable[Outcome]) -> bool:
    """Return whether a run takes fewer bytes than another one and is expected to be no worse."""
    return any(
        made.total_bytes < other.total_bytes and made.expected_accuracy >= other.expected_accuracy
        for other in runs
    )


def _chance(plan: Plan) -> Iterator[str]:
    """Yield an accuracy of the most frequent class that is no share of the predictions."""
    predictions = plan.request["judged"]["validation"]
    if plan.chance is not None and not plan.measures_own:
        count = plan.chance * predictions
        if count < 1 - _NEAR or not _same(count, round(count), _NEAR):
            yield f"chance_accuracy: {plan.chance:g} is no share of {predictions} predictions"


def _test(plan: Plan, runs: Mapping[str, Outcome]) -> Iterator[str]:
    """Yield the test figures that contradict each other or the size of the split."""
    tested: dict[str, AccuracyOnTest | DifferenceOnTest] = {
        f"{name}.test": made.test for name, made in runs.items() if made.test
    }
    tested |= {f"test_differences.{name}": made for name, made in plan.test_differences.items()}
    judged = plan.request["judged"]
    for name, told in tested.items():
        if not told.low <= told.mean <= told.high:
            yield f"{name}: low, mean and high must ascend"
        if judged["what"] == "examples" and told.examples != judged["test"]:
            yield f"{name}.examples: {told.examples} differs from request.judged.test"
    for name, made in plan.test_differences.items():
        yield from _difference(plan, f"test_differences.{name}", made, plan.baselines.get(name))


def _difference(
    plan: Plan, name: str, made: DifferenceOnTest, baseline: Outcome | None
) -> Iterator[str]:
    """Yield that a difference is not that of its runs, or has no interval around its mean."""
    ours, theirs = plan.recommendation.test, baseline.test if baseline else None
    if ours is None or theirs is None or made.seeds != min(ours.seeds, theirs.seeds):
        yield f"{name}: it is not of the seeds that both runs have"
    elif not _same(made.mean, ours.mean - theirs.mean):
        yield f"{name}.mean: it differs from {ours.mean - theirs.mean:g}"
    ends = made.mean - made.low, made.high - made.mean
    inside = made.low > -1 and made.high < 1
    if inside and not _same(*ends, _NEAR):
        yield f"{name}.low: the interval is not symmetric about its mean"


def _cheaper(plan: Plan, runs: Mapping[str, Outcome]) -> Iterator[str]:
    """Yield that a cheaper way is none, or not the best within its share of the bytes."""
    shares, total = [way.share for way in plan.cheaper], plan.recommendation.total_bytes
    if shares != sorted(set(shares), reverse=True):
        yield "cheaper: the shares of the bytes must fall from way to way"
    for i, way in enumerate(plan.cheaper):
        yield from _way(plan, f"cheaper.{i}", way, list(runs.values()))
    for (i, way), less in zip(enumerate(plan.cheaper), plan.cheaper[1:], strict=False):
        if way.nbytes <= less.share * total or way.interval.mean <= less.interval.mean:
            yield f"cheaper.{i}: the way of the share {less.share:g} is as good for fewer bytes"


def _way(plan: Plan, name: str, way: CheaperWay, runs: list[Outcome]) -> Iterator[str]:
    """Yield the figures of a cheaper way that contradict its share, its cost or its run."""
    total = plan.recommendation.total_bytes
    if way.candidate not in {made.candidate for made in plan.baselines.values() if made}:
        yield from outside_space(name, way.candidate, plan.request)
    if way.share not in SHARES:
        yield f"{name}.share: {way.share:g} is none of {', '.join(f'{s:g}' for s in SHARES)}"
    if not way.nbytes <= way.share * total * (1 + _SAME):
        yield f"{name}.bytes: {way.nbytes} are more than the share {way.share:g}"
    for made in runs:
        if made.candidate == way.candidate:
            yield from _way_of_run(plan, name, way, made)


def _way_of_run(plan: Plan, name: str, way: CheaperWay, made: Outcome) -> Iterator[str]:
    """Yield the figures of a cheaper way that are not those of the same run in the plan."""
    spent = {number: share for number, share, _ in made.curve}
    if way.rounds not in spent:
        if way.rounds < made.rounds:
            yield f"{name}.rounds: round {way.rounds} of {way.candidate} was not evaluated"
        return
    whole = {"bytes": 1, "client-bytes": made.cohort}.get(plan.limit.budget.kind)
    if whole and not _same(spent[way.rounds] * plan.limit.amount * whole, way.nbytes, _NEAR):
        yield f"{name}.bytes: round {way.rounds} of {way.candidate} had spent another share"
    if way.rounds == made.rounds and way.nbytes != made.total_bytes:
        yield f"{name}.bytes: {way.nbytes} differ from the {made.total_bytes} of its run"
    if way.rounds == made.rounds and made.interval and not _is_near(way.interval, made.interval):
        yield f"{name}.interval: it differs from that of the same run in the plan"


def _is_near(one: Interval, other: Interval) -> bool:
    """Return whether two intervals are the same but for rounding."""
    ends = ((one.low, other.low), (one.mean, other.mean), (one.high, other.high))
    return all(_same(*pair, _NEAR) for pair in ends)


def _elsewhere(plan: Plan) -> Iterator[str]:
    """Yield times on other networks that are not those of the plan's runs, or on no network."""
    names = [times.network for times in plan.elsewhere]
    known = [name for name in NETWORKS if name in names and name != plan.request["network"]]
    if names != known:
        yield f"elsewhere: the networks {names} are not some of {list(NETWORKS)}, in this order"
    shown: dict[str, Outcome] = {PLAN: plan.recommendation}
    shown |= {name: made for name, made in plan.baselines.items() if made}
    for i, there in enumerate(plan.elsewhere):
        if there.times.keys() != shown.keys():
            yield f"elsewhere.{i}.times: the runs of the plan are {', '.join(sorted(shown))}"
            return
        yield from _one_network(f"elsewhere.{i}.times", there.times, shown)


def _one_network(
    name: str, times: Mapping[str, TimeSpread], shown: Mapping[str, Outcome]
) -> Iterator[str]:
    """Yield times on a network that differ for one run, or in their number of fleets."""
    for one, other in pairwise(times):
        fleets = times[one].draws, times[other].draws
        if times[one].method == times[other].method and fleets[0] != fleets[1]:
            yield f"{name}.{other}.draws: {fleets[1]} differs from the {fleets[0]} of {one}"
    for key, spread in times.items():
        same = shown[key].candidate == shown[PLAN].candidate
        if same and spread != times[PLAN]:
            yield f"{name}.{key}: it differs from that of the same run, the plan"
