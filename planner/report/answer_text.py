"""Answers from the store, as table rows and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from floss_sim.analysis.time_spread import (
    PROBED_LEGEND,
    SPREAD_LEGEND,
    spread_texts,
    traffic_alone_note,
)
from floss_sim.units import format_bytes, format_duration, format_predicted_bytes
from floss_sim.vectors.density import format_density
from planner.decisions.training_offer import TrainingOffer
from planner.forecasts.intervals import LEVEL
from planner.plans.answer import Answer
from planner.question.budget import parse_budget
from planner.report.budget_text import budget_sentences
from planner.report.explanation_text import chance_clause, interval_text
from planner.report.plan_table import DENSITIES_LEGEND
from planner.report.privacy_text import answer_privacy_sentences
from planner.report.usage_text import answer_usage_rows, usage_legend

ANSWERS_TITLE = "from stored curves; no training"
ANSWER_COLUMNS = ("", "rank", "down", "up", "rounds", "valid. %", "source", "to confirm", "other")
_LEGEND = (
    f"{DENSITIES_LEGEND}; ± is half of a {100 * LEVEL:.0f} % interval; ~ marks a forecast; to "
    "confirm are the rounds of training that would measure it, and their seconds on this machine; "
    "measured are the candidates whose stored runs reach the end of the budget. Accuracies are by "
    "all stored curves of this task; a plan's are by the curves of its own search."
)


def answer_row(answer: Answer, network: str) -> tuple[str, ...]:
    """Return an answer's row: cell, rank, densities, rounds, accuracy, source, rounds to confirm.

    The last cell holds the candidate's other settings.

    Args:
        answer: The answer.
        network: Name of the plan's network; the row omits it.
    """
    where = answer_name(answer, network)
    confirm = _confirmation_text(answer)
    if answer.candidate is None or answer.accuracy is None or _is_vague(answer):
        return (where, *["-"] * 5, "unknown", confirm, "")
    best = answer.candidate
    return (
        where,
        best.rank_text,
        format_density(best.down_density),
        format_density(best.up_density),
        str(answer.rounds),
        _accuracy_text(answer),
        "other tasks" if answer.from_tasks else answer.kind,
        confirm,
        best.other_settings,
    )


def _accuracy_text(answer: Answer) -> str:
    """Return an accuracy in percent with half its interval; ``~`` marks a forecast."""
    if answer.accuracy is None or answer.interval is None:
        return "-"
    half = 50 * (answer.interval.high - answer.interval.low)
    mark = "~" if answer.kind == "forecast" else ""
    return f"{mark}{100 * answer.accuracy:.1f}±{half:.1f}"


def _is_vague(answer: Answer) -> bool:
    """Whether a forecast says nothing; one from other tasks is wide and says so."""
    if answer.from_tasks:
        return False
    return answer.interval is not None and answer.interval.is_vague


def _confirmation_text(answer: Answer) -> str:
    if not answer.confirm_rounds:
        return "-"
    seconds = answer.confirm_s
    took = "" if seconds is None else f", {format_duration(seconds)}"
    return f"{answer.confirm_rounds} rounds{took}"


COST_COLUMNS = ("", "time", "bytes", "measured")


def cost_rows(answers: Sequence[Answer], network: str) -> list[tuple[str, ...]]:
    """Return rows of time, bytes and number of measured candidates, as in ``COST_COLUMNS``.

    The time has an interval where the network draws its fleets.

    Args:
        answers: The answers.
        network: Name of the plan's network; the rows omit it.
    """
    shown = [None if not a.time or _is_vague(a) else a.time.spread for a in answers]
    rows = zip(answers, spread_texts(shown), strict=True)
    return [
        (answer_name(a, network), time, _bytes_text(a), f"{a.measured} of {a.searched}")
        for a, time in rows
    ]


def answer_name(answer: Answer, network: str) -> str:
    """Return the name of an answer's row: its budget, and its network if it is another one."""
    return answer.budget if answer.network == network else f"{answer.network}: {answer.budget}"


def device_rows(answers: Sequence[Answer], network: str) -> list[tuple[str, ...]]:
    """Return rows of devices, energy and money of answers, as in ``USAGE_COLUMNS``.

    Empty if no answer tells.

    Args:
        answers: The answers.
        network: Name of the plan's network; the rows omit it.
    """
    shown = [a.model_copy(update={"usage": None}) if _is_vague(a) else a for a in answers]
    if not any(answer.usage for answer in shown):
        return []
    return answer_usage_rows(shown, [answer_name(answer, network) for answer in answers])


def _bytes_text(answer: Answer) -> str:
    if answer.total_bytes is None or _is_vague(answer):
        return "-"
    error = answer.total_bytes_error
    if error is None:
        return format_bytes(answer.total_bytes)
    return format_predicted_bytes(answer.total_bytes, error)


def answer_sentences(answers: Sequence[Answer], *, own: bool = False) -> list[str]:
    """Return the sentences printed below a table of answers.

    Args:
        answers: The answers.
        own: Whether their accuracies are those of the clients' own models.
    """
    lines = [
        f"{_accuracy_text(a)} is a forecast, {100 * LEVEL:.0f} % interval "
        f"{interval_text(a.interval)}; {a.measured} of {a.searched} candidates are measured up to "
        "the end of this budget."
        for a in answers
        if a.kind == "forecast" and a.interval and not a.interval.is_vague and not a.from_tasks
    ]
    lines += [_other_tasks_sentence(answer) for answer in answers if answer.from_tasks]
    lines += [_stop_sentence(answer) for answer in answers if answer.rounds < answer.affords]
    lines += [
        f"{answer.budget}: nothing was learned: the accuracy "
        f"{chance_clause(answer.chance, own=own)}."
        for answer in answers
        if answer.chance is not None and not answer.learned and answer.accuracy is not None
    ]
    lines += _time_sentences(answers)
    lines += _budget_lines(answers)
    lines += answer_privacy_sentences(a for a in answers if not _is_vague(a))
    lines += usage_legend([None if _is_vague(answer) else answer.usage for answer in answers])
    if any(answer.kind == "unknown" or _is_vague(answer) for answer in answers):
        lines.append(
            "unknown: the store holds no curve of this task and seed that is within the limits, or "
            "its forecasts are wider than +-20 points."
        )
    if any(answer.accuracy is not None for answer in answers):
        lines.append(_LEGEND)
    if skipped := max((answer.skipped for answer in answers), default=0):
        lines.append(f"{skipped} damaged runs of the store were left out.")
    return lines


def _other_tasks_sentence(answer: Answer) -> str:
    """Return that a forecast is from other tasks, and how far it may be off."""
    grids = ", ".join(answer.from_tasks)
    within = interval_text(answer.interval) if answer.interval else ""
    return (
        f"{answer.budget}: nothing of this task is stored. {_accuracy_text(answer)} is a forecast "
        f"from other tasks (recorded grids: {grids}), {100 * LEVEL:.0f} % interval "
        f"{within}, as wide as tasks differ; nothing is measured. Of all "
        "candidates, the one is named whose interval has the highest lower end."
    )


def _budget_lines(answers: Sequence[Answer]) -> list[str]:
    """Return what budgets limit, where their texts alone do not say it."""
    asked = [parse_budget(answer.budget) for answer in answers]
    told = dict.fromkeys(
        f"{budget.text} is {answer.limit.removeprefix(budget.text + ' = ')}"
        for budget, answer in zip(asked, answers, strict=True)
        if budget.kind not in ("bytes", "seconds")
    )
    words = [f"{'; '.join(told)}."] if told else []
    return words + budget_sentences(asked)


def _stop_sentence(answer: Answer) -> str:
    """Return why a run is best stopped before the budget ends, as far as is known."""
    where = f"{answer.budget}: after round {answer.rounds} of {answer.affords} affordable rounds"
    if answer.confirm_rounds:
        return (
            f"{where} the best measured run ends. What longer runs reach is unknown, as all "
            "forecasts are wider than +-20 points: train, with --effort above 0."
        )
    return (
        f"{where} stop: no longer run is expected to be clearly better (a forecast counts for "
        "less, the farther the run is from its end)."
    )


def _time_sentences(answers: Sequence[Answer]) -> list[str]:
    """Return what the times of known answers are; empty if there is nothing to say of them."""
    spreads = [answer.time.spread for answer in answers if answer.time and not _is_vague(answer)]
    drawn = any(spread.draws > 1 for spread in spreads)
    lines = [f"Time is simulated: {SPREAD_LEGEND}."] if drawn else []
    if any(spread.method == "probed" for spread in spreads):
        lines.append(f"{PROBED_LEGEND}.")
    shown = [answer for answer in answers if answer.candidate and not _is_vague(answer)]
    alone = dict.fromkeys(answer.network for answer in shown if answer.traffic_alone)
    return [*lines, *(f"{traffic_alone_note(network)}." for network in alone)]


def offer_sentence(offer: TrainingOffer) -> str:
    """Return what ten minutes of training would buy."""
    return (
        f"Of recorded tasks that a prior left out, its favourite was {offer.regret:.1f} points off "
        f"the best in the mean, {offer.worst_regret:.1f} on the worst task. "
        f"{format_duration(offer.training_s)} of training here are about {offer.rounds} rounds, "
        f"{100 * offer.share:.2g} % of those that the budget affords all candidates; a plan of so "
        f"many was {offer.regret_after:.1f} points off, {offer.worst_regret_after:.1f} on the "
        "worst task, and its accuracy measured: --effort 10min."
    )
