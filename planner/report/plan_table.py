"""Table of a plan: the recommendation, runners-up and baselines."""

from __future__ import annotations

import math

from floss_sim.analysis.on_test import AccuracyOnTest
from floss_sim.units import format_bytes
from floss_sim.vectors.density import format_density
from planner.forecasts.intervals import LEVEL, Interval
from planner.plans.outcome import EFFORT, Outcome
from planner.plans.plan import Plan
from planner.report.budget_text import budget_sentences
from planner.report.privacy_text import EPSILON_COLUMN, epsilon_text

BASELINE_TITLES = {"dense": "dense LoRA", "thesis_rule": "the thesis' rule"}
SHORT_TITLES = BASELINE_TITLES | {"thesis_rule": "rule"}
COLUMNS = ("", "rank", "down", "up", "rounds", "valid. %", "test %", "bytes", "spent")


DENSITIES_LEGEND = "down and up are the shares of entries sent"


def plan_title(plan: Plan) -> str:
    """Return the title of the plan's table: task, network and budget."""
    return f"{plan.request['task']} on {plan.request['network']}: {plan.limit.describe()}"


def columns(plan: Plan) -> tuple[str, ...]:
    """Return the columns of the plan's table.

    ``epsilon`` is among them if the plan has one, ``other`` if a shown run has other settings.
    """
    shown = (plan.recommendation, *plan.runners_up)
    names = COLUMNS if plan.privacy is None else (*COLUMNS[:5], EPSILON_COLUMN, *COLUMNS[5:])
    return (*names, "other") if any(o.candidate.other_settings for o in shown) else names


def table_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Return the rows of the plan's table, with cells as in ``columns``."""
    rows = [_row(plan, "plan", plan.recommendation)]
    rows += [_row(plan, f"#{i}", o) for i, o in enumerate(runners_up(plan), start=2)]
    for name, title in SHORT_TITLES.items():
        outcome = plan.baselines[name]
        empty = (title, *["-"] * len(columns(plan)))
        rows.append(_row(plan, title, outcome) if outcome else empty)
    return [row[: len(columns(plan))] for row in rows]


def legend(plan: Plan) -> str:
    """Return what the rows and figures of the plan's table are, and of its title."""
    judged = plan.request["judged"]
    rankless = not all(o.candidate.has_rank for o in (plan.recommendation, *plan.runners_up))
    none = ", - the rank where there is no adapter" * rankless
    lines = [
        f"{DENSITIES_LEGEND}{none}. ± is half of a {100 * LEVEL:.0f} % interval: on "
        f"validation for these {judged['validation']} {judged['what']}, on which the plan was "
        "chosen, on test for further ones, too. Test and other networks are for plan and baselines "
        "alone; spent is the share of the budget.",
        *(
            [f"Every accuracy is an own accuracy: {plan.measure_text}."]
            if plan.measures_own
            else []
        ),
        *_others_text(plan),
        "rule is the thesis' rule (Raje, 2024): download density 1/4, upload density 1/4 over the "
        f"ratio of download to upload rate{_own_fleet_clause(plan)}.",
    ]
    lines += budget_sentences([plan.limit.budget])
    if rounds := plan.limit.budget.month_rounds:
        lines.append(
            f"In 30 days at most {rounds} rounds start; those of the plan take {_days(plan)} days."
        )
    return " ".join(lines)


def _days(plan: Plan) -> str:
    return f"{plan.recommendation.rounds / (plan.limit.budget.rounds_per_day or math.inf):.3g}"


def _others_text(plan: Plan) -> list[str]:
    """Return what the numbered rows are, and which of them the effort ended; empty without any."""
    others = runners_up(plan)
    if not others:
        return []
    ended = [f"#{i}" for i, o in enumerate(others, start=2) if o.binds == EFFORT]
    if len(others) == 1:
        what = "counts, which the effort ended early" if ended else "was trained to its end"
        return [f"Besides plan and baselines, #2 {what}."]
    but = f", but for {' and '.join(ended)}, which the effort ended early" if ended else ""
    rest = f"#2 {'and' if len(others) == 2 else 'to'} #{len(others) + 1}"
    return [f"Besides plan and baselines, {rest} were trained to their end, best first{but}."]


def _own_fleet_clause(plan: Plan) -> str:
    """Return on which fleet the rule's rates are meant; empty if the network draws none."""
    made = plan.recommendation.time
    return " on the fleet of the network's seed" if made and made.draws > 1 else ""


def has_ties(plan: Plan) -> bool:
    """Return whether two or more of the shown runs tie with the best."""
    return sum(map(plan.ties, (plan.recommendation, *plan.runners_up))) >= 2


def runners_up(plan: Plan) -> list[Outcome]:
    """Return the runners-up that are not shown as baselines."""
    baselines = {outcome.candidate for outcome in plan.baselines.values() if outcome}
    return [outcome for outcome in plan.runners_up if outcome.candidate not in baselines]


def _row(plan: Plan, title: str, outcome: Outcome) -> tuple[str, ...]:
    candidate = outcome.candidate
    tied = has_ties(plan) and plan.ties(outcome) and outcome.expected_accuracy <= plan.best_accuracy
    return (
        title,
        candidate.rank_text,
        format_density(candidate.down_density),
        format_density(candidate.up_density),
        str(outcome.rounds),
        *([epsilon_text(outcome.privacy)] if plan.privacy else []),
        f"{_percent(outcome.expected_accuracy, outcome.interval)}{_tie_mark(plan, tied)}",
        "" if outcome.test is None else _percent(outcome.test.mean, outcome.test),
        format_bytes(outcome.total_bytes),
        f"{100 * outcome.spent:.0f} %",
        candidate.other_settings,
    )


def _tie_mark(plan: Plan, tied: bool) -> str:
    """Return the mark of a tie; blank in its column, and nothing where no run ties."""
    return ("=" if tied else " ") if has_ties(plan) else ""


def _percent(accuracy: float, told: Interval | AccuracyOnTest | None) -> str:
    """Return an accuracy in percent, with half of its interval."""
    half = "" if told is None else f"±{50 * (told.high - told.low):.1f}"
    return f"{100 * accuracy:.1f}{half}"
