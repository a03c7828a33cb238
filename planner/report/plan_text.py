"""Sentences of a plan: what a reader must know beside its table."""

from __future__ import annotations

from floss_sim.units import format_bytes, format_duration
from planner.decisions.recommend import HALF_BYTES_WORTH
from planner.forecasts.intervals import LEVEL
from planner.plans.outcome import Outcome
from planner.plans.plan import Plan
from planner.report.explanation_text import explanation_sentences
from planner.report.objective_text import (
    baseline_clause,
    effort_sentence,
    left_out_sentence,
    target_sentence,
)
from planner.report.plan_table import BASELINE_TITLES, has_ties


def sentences(plan: Plan) -> list[str]:
    """Return what a reader must know beside the table."""
    effort, request, best = plan.effort, plan.request, plan.recommendation
    participations = best.rounds * best.cohort
    test = "not measured" if best.test_accuracy is None else f"{best.test_accuracy:.3f}"
    lines = [
        *target_sentence(plan),
        f"Train {best.candidate} for {best.rounds} rounds: validation accuracy "
        f"{best.expected_accuracy:.3f}{_interval_clause(best)}, test accuracy {test}.",
        f"Each client downloads {format_bytes(best.down_bytes / participations)} and uploads "
        f"{format_bytes(best.up_bytes / participations)} a round; in all "
        f"{format_bytes(best.down_bytes)} down, {format_bytes(best.up_bytes)} up, "
        f"{format_duration(best.simulated_s)} of simulated time.",
        _binding_sentence(plan),
        *explanation_sentences(plan),
        *_baseline_sentences(plan),
        *_ties_sentence(plan),
        f"Searched {effort['starters']} of {effort['searched']} affordable candidates by "
        f"{effort['search']} in "
        f"{effort['search_rounds']} of the full grid's {effort['grid_rounds']} rounds; "
        f"{effort['trained_now_rounds']} rounds were trained now, baselines included. "
        f"One seed ({request['seed']}): its luck is in the margin as far as near candidates tell.",
    ]
    if plan.interrupted:
        lines.insert(0, "Interrupted: the best of what was finished by then. Ask again to go on.")
    return [*lines, *effort_sentence(plan), *left_out_sentence(plan)]


def _interval_clause(best: Outcome) -> str:
    """Return how sure an accuracy is, and what the last evaluation alone says."""
    told = best.interval
    if told is None:
        return ""
    return (
        f" ({100 * LEVEL:.0f} % interval {told.low:.3f} to {told.high:.3f}; "
        f"{best.accuracy:.3f} at the last evaluation)"
    )


def _binding_sentence(plan: Plan) -> str:
    best, said = plan.recommendation, plan.explanation
    uploads = said.spent_on_uploads if said else None
    what = "" if uploads is None else f", {100 * uploads:.0f} % of that on uploads"
    return f"The {best.binds} binds; {100 * best.spent:.1f} % of the budget is spent{what}."


def _ties_sentence(plan: Plan) -> list[str]:
    """Return what the mark of a tie means, where more than one run has it."""
    judged = plan.request["judged"]
    if not has_ties(plan):
        return []
    return [
        f"= ties with the best ({100 * plan.best_accuracy:.1f} % expected): within "
        f"{100 * plan.margin:.1f} points, which leaves it a chance in three of being as good. "
        f"Among ties, half the bytes weigh as much as {100 * HALF_BYTES_WORTH:g} points. Judged on "
        f"{judged['validation']} {judged['what']}."
    ]


def _baseline_sentences(plan: Plan) -> list[str]:
    lines = []
    best, judged = plan.recommendation.test_accuracy or 0.0, plan.request["judged"]
    for name, title in BASELINE_TITLES.items():
        baseline = plan.baselines[name]
        if baseline and baseline.test_accuracy is not None:
            points = 100 * (best - baseline.test_accuracy)
            where = baseline_clause(plan, baseline)
            lines.append(
                f"Against {title}{where} ({baseline.candidate}): {points:+.1f} points "
                f"on {judged['test']} test {judged['what']}, "
                f"{plan.recommendation.total_bytes / baseline.total_bytes:.2f} times the bytes."
            )
        if baseline and baseline.expected_accuracy > plan.best_accuracy:  # then it was not searched
            more = 100 * (baseline.expected_accuracy - plan.recommendation.expected_accuracy)
            lines.append(
                f"On validation {title} is expected to be {more:.1f} points better, outside the "
                "space that was searched; the options of ranks and densities can name it."
            )
    return lines
