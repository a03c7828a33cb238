"""Differential privacy of a plan and of answers in words."""

from __future__ import annotations

from collections.abc import Iterable

from planner.plans.answer import Answer
from planner.plans.plan import Plan
from planner.plans.spent_privacy import SpentPrivacy
from planner.question.request import Request

EPSILON_COLUMN = "epsilon"


def epsilon_text(spent: SpentPrivacy | None) -> str:
    """Return an epsilon as a cell of a table; ``-`` without one."""
    return "-" if spent is None or spent.epsilon is None else f"{spent.epsilon:.3g}"


def epsilon_clause(spent: SpentPrivacy | None) -> str:
    """Return an epsilon in parentheses, with a space before; empty without privacy."""
    return f" ({spent.text})" if spent else ""


def privacy_sentences(plan: Plan) -> list[str]:
    """Return what protects the clients of a plan, and how far; empty without privacy."""
    asked, spent = plan.privacy, plan.recommendation.privacy
    if asked is None or spent is None:
        return []
    lines = [f"Differential privacy of each client, in all runs: {asked.settings.describe()}."]
    if spent.epsilon is None:
        return lines
    known = spent.epsilon_of_known_cohorts
    if known is not None and known != spent.epsilon:
        lines.append(f"For someone who knows the cohorts the plan's epsilon is {known:.3g}.")
    if plan.limit.private_rounds:
        allowed = (
            f"{rounds} rounds of {size} clients"
            for size, rounds in sorted(plan.limit.private_rounds.items())
        )
        lines.append(f"Epsilon {asked.max_epsilon:g} allows {' or '.join(allowed)}.")
    elif asked.has_limit:
        lines.append(
            f"All {plan.request['max_rounds']} rounds of the cap (--max-rounds) keep to epsilon "
            f"{asked.max_epsilon:g}."
        )
    lines.append(
        "An epsilon is that of one run: to search on the data that it protects would spend more."
    )
    return lines


def request_privacy_notes(request: Request) -> list[str]:
    """Return a line on the noise of a search, and the epsilon of its longest runs; or none."""
    asked = request.privacy
    if asked is None:
        return []
    said = f"differential privacy of all runs: {asked.settings.describe()}"
    if not asked.settings.noise:
        return [said]
    largest, allowed = request.largest_cohorts, request.private_rounds()
    rounds = allowed.get(largest.size, request.max_rounds)
    spent = SpentPrivacy.of(asked.spent(largest, max(rounds, 1))).text
    if not rounds:
        return [f"{said}; the first round of {largest.size} clients would spend {spent}"]
    return [f"{said}; {rounds} rounds of {largest.size} clients spend {spent}"]


def answer_privacy_sentences(answers: Iterable[Answer]) -> list[str]:
    """Return the epsilons of answers; empty without privacy."""
    told = (
        f"{answer.budget}: {answer.rounds} rounds spend {answer.privacy.text}."
        for answer in answers
        if answer.privacy and answer.privacy.epsilon is not None
    )
    return list(dict.fromkeys(told))
