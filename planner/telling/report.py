"""What a plan says: rows for a table, sentences, curves for a plot, files on disk."""

from __future__ import annotations

import json
from pathlib import Path

from floss_sim.errors import RecordError
from floss_sim.files import write_atomically
from floss_sim.units import format_bytes, format_duration
from floss_sim.vectors.density import format_density
from planner.choice import HALF
from planner.forecasts.intervals import LEVEL
from planner.plans.plan import Outcome, Plan
from planner.telling.sentences import explained
from planner.telling.sought import allowed, beside, lead, left_out

BASELINES = {"dense": "dense LoRA", "thesis_rule": "thesis' rule"}
_SHORT = BASELINES | {"thesis_rule": "rule"}
COLUMNS = ("", "rank", "down", "up", "rounds", "valid. %", "test", "bytes", "time", "spent")


def columns(plan: Plan) -> tuple[str, ...]:
    """Return the columns of the plan's table: one more where candidates vary in more."""
    shown = (plan.recommendation, *plan.runners_up)
    return (*COLUMNS, "other") if any(o.candidate.other for o in shown) else COLUMNS


def table_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Return the rows of the plan's table, in the order of ``columns``."""
    rows = [_row(plan, "plan", plan.recommendation)]
    rows += [_row(plan, f"#{i}", o) for i, o in enumerate(_runners_up(plan), start=2)]
    for name, title in _SHORT.items():
        outcome = plan.baselines[name]
        empty = (title, *["-"] * len(COLUMNS))
        rows.append(_row(plan, title, outcome) if outcome else empty)
    return [row[: len(columns(plan))] for row in rows]


def _runners_up(plan: Plan) -> list[Outcome]:
    """Return the runners-up that are not shown as baselines."""
    baselines = {outcome.candidate for outcome in plan.baselines.values() if outcome}
    return [outcome for outcome in plan.runners_up if outcome.candidate not in baselines]


def _row(plan: Plan, title: str, outcome: Outcome) -> tuple[str, ...]:
    candidate, test = outcome.candidate, outcome.test_accuracy
    tied = bool(_ties(plan)) and plan.ties(outcome) and outcome.expected <= plan.best_accuracy
    return (
        title,
        str(candidate.rank),
        format_density(candidate.down_density),
        format_density(candidate.up_density),
        str(outcome.rounds),
        f"{100 * outcome.expected:.1f}{_half(outcome)}{'=' if tied else ' '}",
        "" if test is None else f"{100 * test:.1f}",
        format_bytes(outcome.total_bytes),
        format_duration(outcome.simulated_s),
        f"{100 * outcome.spent:.0f} %",
        candidate.other,
    )


def _half(outcome: Outcome) -> str:
    told = outcome.interval
    return "" if told is None else f"±{50 * (told.high - told.low):.1f}"


def sentences(plan: Plan) -> list[str]:
    """Return what a reader must know beside the table."""
    effort, request, best = plan.effort, plan.request, plan.recommendation
    participations = best.rounds * best.cohort
    test = "not measured" if best.test_accuracy is None else f"{best.test_accuracy:.3f}"
    lines = [
        *lead(plan),
        f"Train {best.candidate} for {best.rounds} rounds: validation accuracy "
        f"{best.expected:.3f}{_within(best)}, test accuracy {test}.",
        f"Each client downloads {format_bytes(best.down_bytes / participations)} and uploads "
        f"{format_bytes(best.up_bytes / participations)} a round; in all "
        f"{format_bytes(best.down_bytes)} down, {format_bytes(best.up_bytes)} up, "
        f"{format_duration(best.simulated_s)} of simulated time.",
        _binding(plan),
        *explained(plan),
        *_against_baselines(plan),
        *_ties(plan),
        f"Searched {effort['starters']} of {effort['searched']} affordable candidates by "
        f"{effort['search']} in "
        f"{effort['search_rounds']} of the full grid's {effort['grid_rounds']} rounds; "
        f"{effort['trained_now_rounds']} rounds were trained now, baselines included. "
        f"One seed ({request['seed']}): its luck is in the margin as far as near candidates tell.",
    ]
    if plan.interrupted:
        lines.insert(0, "Interrupted: the best of what was finished by then. Ask again to go on.")
    return [*lines, *allowed(plan), *left_out(plan)]


def _within(best: Outcome) -> str:
    """Return how sure an accuracy is, and what the last evaluation alone says."""
    told = best.interval
    if told is None:
        return ""
    return (
        f" ({100 * LEVEL:.0f} % interval {told.low:.3f} to {told.high:.3f}; "
        f"{best.accuracy:.3f} at the last evaluation)"
    )


def _binding(plan: Plan) -> str:
    best, said = plan.recommendation, plan.explanation
    uploads = said.spent_on_uploads if said else None
    what = "" if uploads is None else f", {100 * uploads:.0f} % of that on uploads"
    return f"The {best.binds} binds; {100 * best.spent:.1f} % of the budget is spent{what}."


def _ties(plan: Plan) -> list[str]:
    """Return what the mark of a tie means, where more than one run has it."""
    shown = [plan.recommendation, *plan.runners_up]
    judged = plan.request["judged"]
    if sum(plan.ties(outcome) for outcome in shown) < 2:
        return []
    return [
        f"= ties with the best ({100 * plan.best_accuracy:.1f} % expected): within "
        f"{100 * plan.margin:.1f} points, which leaves it a chance in three of being as good. "
        f"Among ties, half the bytes weigh as much as {100 * HALF:g} points. Judged on "
        f"{judged['validation']} {judged['what']}."
    ]


def _against_baselines(plan: Plan) -> list[str]:
    lines = []
    best, judged = plan.recommendation.test_accuracy or 0.0, plan.request["judged"]
    for name, title in BASELINES.items():
        baseline = plan.baselines[name]
        if baseline and baseline.test_accuracy is not None:
            points = 100 * (best - baseline.test_accuracy)
            where = beside(plan, baseline)
            lines.append(
                f"Against {title}{where} ({baseline.candidate}): {points:+.1f} points "
                f"on {judged['test']} test {judged['what']}, "
                f"{plan.recommendation.total_bytes / baseline.total_bytes:.2f} times the bytes."
            )
        if baseline and baseline.expected > plan.best_accuracy:  # then it was not searched
            more = 100 * (baseline.expected - plan.recommendation.expected)
            lines.append(
                f"On validation {title} is expected to be {more:.1f} points better, outside the "
                "space that was searched; the options of ranks and densities can name it."
            )
    return lines


def labelled_curves(plan: Plan) -> dict[str, tuple[tuple[int, float, float], ...]]:
    """Return the curves to draw, by label; the recommendation first."""
    curves = {f"plan: {plan.recommendation.candidate}": plan.recommendation.curve}
    for outcome in _runners_up(plan)[:3]:
        curves[f"runner-up: {outcome.candidate}"] = outcome.curve
    for name, title in BASELINES.items():
        baseline = plan.baselines[name]
        if baseline:
            curves[f"baseline, {title}: {baseline.candidate}"] = baseline.curve
    return curves


def save(plan: Plan, folder: Path) -> None:
    """Write ``plan.json`` and ``accuracy.png`` into a folder.

    Raises:
        RecordError: The folder or a file cannot be written.
    """
    from floss_sim.plots import figure as base
    from planner.telling.plots import curves_frame, draw_front, draw_plan, front_frame

    ensure(folder)
    write_atomically(folder / "plan.json", json.dumps(plan.to_json(), indent=2) + "\n")
    title = f"{plan.request['task']} on {plan.request['network']}"
    xlabel = f"budget spent (%; {plan.limit.describe()})"
    frame = curves_frame(labelled_curves(plan))
    base.save(draw_plan(frame, title, xlabel, plan.target), folder / "accuracy.png")
    if plan.front:
        base.save(draw_front(front_frame(plan.front), title, xlabel), folder / "front.png")


def ensure(folder: Path) -> None:
    """Create a folder and check that it can be written.

    Raises:
        RecordError: It cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RecordError(f"cannot write {folder}: {error.strerror}") from None
