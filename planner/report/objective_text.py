"""Sentences and rows about target, Pareto front, effort and excluded candidates."""

from __future__ import annotations

from floss_sim.units import format_bytes, format_duration, format_energy, format_money
from floss_sim.vectors.density import format_density
from planner.plans.missing_baseline import (
    DIVERGED,
    FAILED,
    NOT_PRIVATE,
    NOT_REACHED,
    Reason,
)
from planner.plans.outcome import EFFORT, Outcome
from planner.plans.plan import Plan
from planner.question.objective import FrontPoint
from planner.report.plan_table import BASELINE_TITLES
from planner.report.time_text import median_clause

FRONT_COLUMNS = (
    "rank",
    "down",
    "up",
    "rounds",
    "cost",
    "spent",
    "valid.",
    "90 % interval",
    "other",
)


def target_sentence(plan: Plan) -> list[str]:
    """Return the sentence on whether the target was reached; empty without a target."""
    if plan.target is None:
        return []
    spent = plan.recommendation.spent
    if plan.reached:
        return [
            f"The cheapest run found that reaches {plan.target:g} costs {cost_text(plan, spent)}"
            f"{median_clause(plan)}: {100 * spent:.3g} % of the budget."
        ]
    return [
        f"No run reached {plan.target:g} within the budget; this is the best run of the search."
    ]


def baseline_clause(plan: Plan, baseline: Outcome) -> str:
    """Return the clause after a baseline's name: where baseline and plan are compared."""
    if baseline.binds == EFFORT:
        return f", {ended_clause(plan, baseline)}"
    if not plan.reached:
        return " at the same budget"
    return " at the target" if baseline.binds == "target" else ", which does not reach the target"


def ended_clause(plan: Plan, outcome: Outcome) -> str:
    """Return after which round the effort ended a run, and how many the budget affords."""
    affordable = plan.affordable_rounds(outcome.candidate)
    of = f" of the {affordable} that the budget affords" if affordable else ""
    return f"ended by the {_end(plan)} after round {outcome.rounds}{of}"


def _end(plan: Plan) -> str:
    """Return what ended the search."""
    return "interruption" if plan.interrupted else "effort"


def missing_sentences(plan: Plan) -> list[str]:
    """Return for each baseline without a run why it has none; empty for plans that do not say."""
    return [
        f"There are no figures for {BASELINE_TITLES[name]}: {_reason_text(plan, reason)}."
        for name, reason in plan.missing_baselines.items()
    ]


def _reason_text(plan: Plan, reason: Reason) -> str:
    if reason == "round_s":
        most = format_duration(plan.request["max_round_s"])
        return f"a round would take more than {most} (--max-round-s)"
    if reason == "client_bytes":
        most = format_bytes(plan.request["max_client_bytes"])
        return f"a client would transfer more than {most} in one round (--max-client-bytes)"
    trust = plan.privacy.settings.trust if plan.privacy else ""
    reasons = {
        "epsilon": "a round of it would exceed the epsilon (--dp-epsilon)",
        NOT_PRIVATE: f"it is not private with trust {trust!r} (--dp-trust)",
        "budget": "the budget affords no round of it",
        DIVERGED: "its training diverged",
        FAILED: "its training failed on the workers",
        NOT_REACHED: f"the {_end(plan)} came before its first evaluation",
    }
    return reasons[reason]


def front_title(plan: Plan) -> str:
    """Return the title of the Pareto front's table."""
    whose = {"client-bytes": " per cohort slot", "device-bytes": " to the busiest device"}
    whose["month-bytes"] = " to the busiest device in 30 days"
    whose["battery"] = " to the device that takes most"
    of = whose.get(plan.limit.budget.kind, "")
    return f"Best expected accuracy of a measured run within each cost{of}{median_clause(plan)}"


def front_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Return the rows of the Pareto front's table, with cells as in ``FRONT_COLUMNS``."""
    return [_row(plan, point) for point in plan.front]


def _row(plan: Plan, point: FrontPoint) -> tuple[str, ...]:
    return (
        point.candidate.rank_text,
        format_density(point.candidate.down_density),
        format_density(point.candidate.up_density),
        str(point.rounds),
        cost_text(plan, point.spent).replace("dense rounds", "dense"),
        f"{100 * point.spent:.2g} %",
        f"{point.accuracy:.3f}",
        f"{point.low:.3f}-{point.high:.3f}",
        point.candidate.other_settings,
    )


def cost_text(plan: Plan, spent: float) -> str:
    """Return the cost that is a share ``spent`` of the budget, in the budget's unit."""
    kind, amount = plan.limit.budget.kind, spent * plan.limit.amount
    if kind == "dense-rounds":
        return f"{spent * float(plan.limit.budget.text.partition('-')[0]):.3g} dense rounds"
    if kind == "seconds":
        return format_duration(amount)
    if kind == "money":
        return format_money(amount, plan.limit.budget.currency)
    return format_energy(amount) if kind in ("energy", "battery") else format_bytes(amount)


def better_stored_sentence(plan: Plan) -> list[str]:
    """Return the sentence on a better run that the store holds; empty without one."""
    found = plan.better_stored
    if found is None:
        return []
    needs = f"which takes {found.budget_spent:.3g} times this budget (--effort 0 keeps to it)"
    if found.budget_spent <= 1:
        needs = f"within {100 * found.budget_spent:.0f} % of this budget; --effort 0 answers by it"
    return [
        f"The store holds a better run of the same question: validation accuracy "
        f"{found.accuracy:.3f} ({found.interval.low:.3f} to {found.interval.high:.3f}) by "
        f"{found.candidate}, {found.rounds} rounds, {format_bytes(found.total_bytes)}, {needs}."
    ]


def left_out_sentence(plan: Plan) -> list[str]:
    """Return the sentence that counts excluded candidates by cause; empty if there are none."""
    causes = plan.effort.get("left_out") or {}
    if not causes:
        return []
    told = "; ".join(f"{count} {cause_text(plan, cause)}" for cause, count in causes.items())
    total = sum(causes.values())
    of = plan.effort["searched"] + total
    return [f"{total} of {of} candidates {'is' if total == 1 else 'are'} left out: {told}."]


def cause_text(plan: Plan, cause: str) -> str:
    """Return what excludes a candidate, as a clause without its subject."""
    if cause == "round_s":
        return f"would take more than {format_duration(plan.request['max_round_s'])} a round"
    if cause == "client_bytes":
        most = format_bytes(plan.request["max_client_bytes"])
        return f"would make a client transfer more than {most} in two rounds"
    if cause == "epsilon":
        return "would exceed the epsilon within two rounds (--dp-epsilon)"
    return "cannot afford two rounds"


def effort_sentence(plan: Plan) -> list[str]:
    """Return the sentences on a time and what was trained in it; empty for a fraction."""
    effort = plan.effort
    if effort.get("training_s") is None:
        return []
    training, round_ = map(format_duration, (effort["training_s"], effort["host_s_per_round"]))
    if effort.get("took_s") is None:  # a plan of an earlier version
        return [
            f"{training} of training allow {effort['limit_rounds']} search rounds ({round_} a "
            f"round, {effort['workers']} at a time), in addition to the rounds of the baselines."
        ]
    fraction = effort["search_rounds"] / effort["grid_rounds"]
    return [
        f"{training} of training took {format_duration(effort['took_s'])}: "
        f"{effort['search_rounds']} search rounds, where {effort['planned_rounds']} were planned "
        f"at {round_} a round, {effort['workers']} at a time. Another time, the same seconds may "
        f"train more or fewer rounds; --effort {fraction:.2g} counts rounds instead."
    ]
