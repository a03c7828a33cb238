"""Answers from the store, as table rows and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from floss_sim.units import format_duration
from floss_sim.vectors.density import format_density
from planner.forecasts.intervals import LEVEL
from planner.plans.answer import Answer
from planner.report.explanation_text import interval_text


def answer_row(answer: Answer, network: str) -> tuple[str, ...]:
    """Return where, what (rank, densities, rounds), how good, how known, and what would confirm it.

    At last what else the candidate is, where candidates vary in more.

    Args:
        answer: The answer.
        network: The plan's, which is left out.
    """
    where = answer.budget if answer.network == network else f"{answer.network}: {answer.budget}"
    confirm = _confirmation_text(answer)
    if answer.candidate is None or answer.accuracy is None:
        return (where, *["-"] * 5, answer.kind, confirm, "")
    best = answer.candidate
    return (
        where,
        str(best.rank),
        format_density(best.down_density),
        format_density(best.up_density),
        str(answer.rounds),
        f"{'~' if answer.interval else ''}{answer.accuracy:.3f}",
        answer.kind,
        confirm,
        best.other_settings,
    )


def _confirmation_text(answer: Answer) -> str:
    if not answer.confirm_rounds:
        return "-"
    seconds = answer.confirm_s
    took = "" if seconds is None else f", {format_duration(seconds)}"
    return f"{answer.confirm_rounds} rounds{took}"


def answer_sentences(answers: Sequence[Answer]) -> list[str]:
    """Return what a reader of a table of answers must know."""
    lines = [
        f"~{a.accuracy:.3f} is a forecast: {interval_text(a.interval)} with {100 * LEVEL:.0f} % "
        f"confidence; {a.measured} of {a.searched} candidates are measured to the end there."
        for a in answers
        if a.interval
    ]
    lines += [
        f"{answer.budget}: stops after round {answer.rounds} of the {answer.affords} that it "
        "affords: as measured there it is better than what is forecast of any that goes on."
        for answer in answers
        if answer.rounds < answer.affords
    ]
    if any(answer.kind == "unknown" for answer in answers):
        lines.append(
            "unknown: no curve of this task and seed is in the store, or none is within the limits."
        )
    if skipped := max((answer.skipped for answer in answers), default=0):
        lines.append(f"{skipped} damaged runs of the store were left out.")
    return lines
