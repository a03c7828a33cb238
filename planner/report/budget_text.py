"""Kinds of budgets in words."""

from __future__ import annotations

from collections.abc import Iterable

from planner.question.budget import Budget, BudgetKind

_SENTENCES: dict[BudgetKind, str] = {
    "dense-rounds": (
        "Link time is bytes over rates, added up over clients: slow uploads count more. In "
        "simulated time they transfer side by side. A dense round has 32 bits an entry; "
        "messages are smaller."
    ),
    "client-bytes": (
        "A cohort slot is a place in every round, which another client may take each time: its "
        "bytes are all bytes over the clients of a round. 10MB/device limits a single device."
    ),
    "month-bytes": (
        "The rounds of a day are spread evenly over it. What counts of a month is the most that "
        "one device transfers within any 30 days."
    ),
}


def budget_sentences(budgets: Iterable[Budget]) -> list[str]:
    """Return what budgets limit: a sentence for each kind whose words do not say it."""
    kinds = dict.fromkeys(budget.kind for budget in budgets)
    return [_SENTENCES[kind] for kind in kinds if kind in _SENTENCES]
