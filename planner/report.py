"""What a plan says: rows for a table, sentences, curves for a plot, files on disk."""

from __future__ import annotations

import json
from pathlib import Path

from floss_sim.errors import RecordError
from floss_sim.records import write_atomically
from floss_sim.units import format_bytes, format_duration
from planner.plan import Outcome, Plan

BASELINES = {"dense": "dense LoRA", "thesis_rule": "thesis' rule"}
COLUMNS = (
    "",
    "configuration",
    "rounds",
    "validation",
    "test",
    "down, a client\nand round",
    "up, a client\nand round",
    "bytes\nin all",
    "simulated\ntime",
    "budget\nspent",
    "binds",
)


def table_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Return the rows of the plan's table, in the order of ``COLUMNS``."""
    rows = [_row(plan, "plan", plan.recommendation)]
    rows += [_row(plan, f"runner-up {i}", o) for i, o in enumerate(plan.runners_up, start=1)]
    for name, title in BASELINES.items():
        outcome = plan.baselines[name]
        empty = (title, "the budget affords no round", *[""] * (len(COLUMNS) - 2))
        rows.append(_row(plan, title, outcome) if outcome else empty)
    return rows


def _row(plan: Plan, title: str, outcome: Outcome) -> tuple[str, ...]:
    participations = outcome.rounds * outcome.cohort
    tie = " (tie)" if plan.ties(outcome) else ""
    test = outcome.test_accuracy
    return (
        title,
        str(outcome.candidate),
        str(outcome.rounds),
        f"{outcome.accuracy:.3f}{tie}",
        "" if test is None else f"{test:.3f}",
        format_bytes(outcome.down_bytes / participations),
        format_bytes(outcome.up_bytes / participations),
        format_bytes(outcome.total_bytes),
        format_duration(outcome.simulated_s),
        f"{100 * outcome.spent:.1f} %",
        outcome.binds,
    )


def sentences(plan: Plan) -> list[str]:
    """Return what a reader must know beside the table."""
    effort, request, best = plan.effort, plan.request, plan.recommendation
    lines = [
        f"Train {best.candidate} for {best.rounds} rounds "
        f"({format_bytes(best.down_bytes)} down, {format_bytes(best.up_bytes)} up in all). "
        f"What binds: the {best.binds}.",
        f"Ties: within {100 * plan.margin:.1f} points of the best validation accuracy "
        f"({plan.best_accuracy:.3f}, {request['validation_examples']} examples, one standard "
        "error of a difference), the run of fewest bytes is recommended.",
        f"Search: {effort['starters']} of {effort['searched']} affordable candidates, "
        f"{effort['search_rounds']} of the full grid's {effort['grid_rounds']} rounds "
        f"({effort['trained_now_rounds']} rounds trained now, baselines included; the rest was "
        f"known). One seed ({request['seed']}): its luck is not in the margin.",
    ]
    if effort["unaffordable"]:
        lines.append(f"{effort['unaffordable']} candidates cannot afford one round.")
    return lines


def labelled_curves(plan: Plan) -> dict[str, tuple[tuple[int, float, float], ...]]:
    """Return the curves to draw, by label; the recommendation first."""
    curves = {f"plan: {plan.recommendation.candidate}": plan.recommendation.curve}
    for outcome in plan.runners_up[:3]:
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
    from matplotlib.figure import Figure

    from floss_sim import plots as base
    from planner.plots import curves_frame, draw_curves

    ensure(folder)
    write_atomically(folder / "plan.json", json.dumps(plan.to_json(), indent=2) + "\n")
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    xlabel = f"budget spent (%; {plan.limit.describe()})"
    draw_curves(axes, curves_frame(labelled_curves(plan)), xlabel)
    axes.set_title(f"{plan.request['task']} on {plan.request['network']}")
    base.save(figure, folder / "accuracy.png")


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
