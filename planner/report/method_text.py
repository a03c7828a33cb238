"""Sentences and table of a search over methods: which is ahead, which tie, which lack a run."""

from __future__ import annotations

from collections.abc import Iterator

from floss_sim.units import format_bytes
from planner.plans.method_result import (
    ALL_FAILED,
    NOT_BEGUN,
    REFUSED,
    UNMEASURED,
    MethodGap,
    MethodResult,
)
from planner.plans.plan import Plan
from planner.report.objective_text import cause_text
from planner.report.on_test_text import points_text

METHOD_COLUMNS = ("method", "begun", "best run", "rounds", "valid. %", "to best", "bytes", "spent")


def method_sentences(plan: Plan) -> list[str]:
    """Return the sentences on the methods of a search; empty for a search of one method."""
    if not plan.methods:
        return []
    others = (one for one in plan.methods if not (one.run and one.run.counts))
    parts = [*_compared_parts(plan), *(_lack_text(plan, one) for one in others)]
    return [f"Of the methods asked for, {'; '.join(parts)}."]


def _compared_parts(plan: Plan) -> Iterator[str]:
    """Yield the clauses on the methods with a run that counts, best first."""
    counted = [one.method for one in plan.methods if one.run and one.run.counts]
    if not counted:
        return
    first, gaps = counted[0], plan.method_gaps
    if not gaps:
        yield f"{first} alone has a run to its end"
        return
    if plan.reached:
        yield f"{first} reaches the target at least cost"
        for gap in gaps:
            yield f"{gap.method} reaches it at {_ratio(gap.spent_ratio)} times that cost"
        return
    second, *rest = gaps
    if second.ties:
        yield f"{first} has the best run"
        rest = gaps
    else:
        lead = points_text(-second.high, -second.mean, -second.low)
        costs = f"which takes {_ratio(second.bytes_ratio)} times the bytes"
        if second.high < 0:
            yield f"{first} is ahead of {second.method}, {costs}, by {lead}"
        else:
            yield f"{first} has the best run, by {lead} over {second.method}, {costs}"
    for gap in rest:
        verb = "ties, at" if gap.ties else "is at"
        far = points_text(gap.low, gap.mean, gap.high)
        yield f"{gap.method} {verb} {far} with {_ratio(gap.bytes_ratio)} times the bytes"
    chosen = plan.recommendation.candidate.method
    if chosen in counted[1:]:
        yield f"the plan takes {chosen} for its fewer bytes"


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def _lack_text(plan: Plan, one: MethodResult) -> str:
    """Return the clause on a method without a run that counts."""
    if one.run:
        affordable = plan.affordable_rounds(one.run.candidate)
        of = f" of {affordable}" if affordable else ""
        ended = f"its best was ended after round {one.run.rounds}{of}"
        return f"{one.method} has no run to its end: {ended}"
    of = f"{one.candidates} candidate{'s' * (one.candidates != 1)}"
    if one.lacks == REFUSED:
        return f"{one.method} was not searched: {plan.request['left_out_methods'][one.method]}"
    if one.lacks == NOT_BEGUN:
        return f"{one.method} was not begun, as the effort sufficed for none of its {of}"
    if one.lacks == ALL_FAILED:
        return f"all {one.begun} runs of {one.method} failed"
    if one.lacks == UNMEASURED:
        return f"{one.method} was begun, but not evaluated within the effort"
    return f"{one.method} was not searched: each of its {of} {cause_text(plan, str(one.lacks))}"


def method_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Return the rows of the table of methods, with cells as in ``METHOD_COLUMNS``."""
    gaps = {gap.method: gap for gap in plan.method_gaps}
    return [_row(one, gaps.get(one.method)) for one in plan.methods]


def _row(one: MethodResult, gap: MethodGap | None) -> tuple[str, ...]:
    begun, run = f"{one.begun} of {one.affordable}", one.run
    if run is None:
        return (one.method, begun, *["-"] * (len(METHOD_COLUMNS) - 2))
    told = run.interval
    what = f"{run.candidate}".replace(f", {one.method}", "")
    return (
        one.method,
        begun,
        what,
        f"{run.rounds}{'' if run.counts else ' (ended)'}",
        f"{100 * told.mean:.1f}±{50 * (told.high - told.low):.1f}",
        _far_text(gap) if run.counts else "-",
        format_bytes(run.nbytes),
        f"{100 * run.spent:.0f} %",
    )


def _far_text(gap: MethodGap | None) -> str:
    """Return how far a method's run is from the best one's, in points; = marks a tie."""
    return "best" if gap is None else f"{100 * gap.mean:+.1f}{'=' * gap.ties}"
