"""Answers for other budgets and networks, as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from floss_sim.cli.common import note, plain_table, show_whole
from planner.plans.answer import Answer
from planner.telling.sentences import answer_row, answer_sentences

_COLUMNS = ("", "rank", "down", "up", "rounds", "valid.", "source", "to confirm", "other")


def print_answers(answers: Sequence[Answer], network: str) -> None:
    """Print answers from the store.

    Args:
        answers: At least one.
        network: The plan's, which is not repeated.
    """
    rows = [answer_row(answer, network) for answer in answers]
    shown = len(_COLUMNS) if any(row[-1] for row in rows) else len(_COLUMNS) - 1
    title = "answered from stored curves, nothing trained for it"
    table = plain_table(*_COLUMNS[:shown], title=title)
    for row in rows:
        table.add_row(*row[:shown])
    show_whole(table, [row[0] for row in rows])
    for line in answer_sentences(answers):
        note(line)
