"""Simulated times of a plan's runs over drawn fleets, and what the runs take from devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.slow_fleets import find_slow_fleets
from floss_sim.analysis.traffic import Traffic
from planner.candidates import Candidate
from planner.plans.outcome import Outcome
from planner.plans.plan import Plan
from planner.plans.straggler_section import SlowFleetsSection
from planner.plans.usage_section import UsageSection


def with_times(plan: Plan, traffic_of: Callable[[Candidate], Traffic], fleets: Fleets) -> Plan:
    """Return a plan with times and usage of its runs, and slow fleets of the recommended one.

    All runs are timed on the same fleets.

    Args:
        plan: The plan.
        traffic_of: Returns the recorded messages of a candidate's run.
        fleets: The fleets that the plan's network may draw.
    """
    ends = {made.candidate: made.rounds for made in plan.runs.values()}
    fleets = fleets.sharing(len(ends))
    traffic = {c: traffic_of(c) for c in ends}
    times = {c: fleets.spread(traffic[c], rounds) for c, rounds in ends.items()}
    usage = {c: UsageSection.of(traffic[c].until(r), plan.limit) for c, r in ends.items()}

    def timed(outcome: Outcome) -> Outcome:
        candidate = outcome.candidate
        return replace(outcome, time=times[candidate], usage=usage[candidate])

    best = plan.recommendation
    slow = find_slow_fleets(fleets, traffic[best.candidate].until(best.rounds))
    return replace(plan.with_runs(timed), slow_fleets=SlowFleetsSection.of(slow) if slow else None)
