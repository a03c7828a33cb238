"""Report of an applied plan: planned, predicted and realised values as rows, text and files."""

from __future__ import annotations

import json
from pathlib import Path

from floss_sim.files import write_atomically
from floss_sim.units import format_bytes, format_duration
from planner.apply import AppliedPlan, write_model
from planner.forecasts.intervals import LEVEL
from planner.forecasts.smoothing import SMOOTHED_SHARE
from planner.plans.outcome import Outcome
from planner.report.plan_folder import create_folder


def rows(applied: AppliedPlan) -> list[tuple[str, ...]]:
    """Return the table rows: planned, predicted without training, and realised values."""
    planned, predicted, made = applied.plan.recommendation, applied.prediction, applied.outcome
    test = planned.test_accuracy
    cells = ("-", "-")
    if predicted:
        cells = (
            format_bytes(predicted["total_bytes"]), format_duration(predicted["simulated_s"])
        )  # fmt: skip
    return [
        ("rounds", str(planned.rounds), "-", str(made.rounds)),
        (
            "validation accuracy",
            f"{planned.expected_accuracy:.3f}",
            "-",
            f"{made.expected_accuracy:.3f}",
        ),
        ("test accuracy", "-" if test is None else f"{test:.3f}", "-", f"{made.test_accuracy:.3f}"),
        ("bytes", format_bytes(planned.total_bytes), cells[0], format_bytes(made.total_bytes)),
        (
            "simulated time", format_duration(planned.simulated_s), cells[1],
            format_duration(made.simulated_s),
        ),
    ]  # fmt: skip


def sentences(applied: AppliedPlan) -> list[str]:
    """Return the sentences on the difference between the plan and the result."""
    predicted, made = applied.prediction, applied.outcome
    own = _is_own_run(applied)
    lines = [
        f"{made.candidate}, seed {applied.seed}{' as planned' if own else ''}: "
        f"{applied.trained} rounds were trained now.",
        _own_run_sentence(applied) if own else _other_seed_sentence(applied),
    ]
    if predicted:
        errors = (
            f"{100 * (predicted[key] / real - 1):+.1f} %" if real else "n/a"
            for key, real in (
                ("total_bytes", made.total_bytes), ("simulated_s", made.simulated_s)
            )
        )  # fmt: skip
        lines.append(
            "The prediction without training is off by {} in bytes, {} in seconds.".format(*errors)
        )
    return lines


def _is_own_run(applied: AppliedPlan) -> bool:
    """Return whether the run is the one by which the plan was chosen."""
    same: bool = applied.seed == applied.plan.request["seed"]
    return same


def _own_run_sentence(applied: AppliedPlan) -> str:
    return (
        "This is the run by which the plan was chosen: nothing new was measured. "
        f"`--seed {applied.seed + 1}` trains it with another seed, and compares both."
    )


def _other_seed_sentence(applied: AppliedPlan) -> str:
    planned, made = applied.plan.recommendation, applied.outcome
    ours, theirs = made.smoothed_accuracy, planned.smoothed_accuracy
    return (
        f"Validation accuracy, averaged over the last {100 * SMOOTHED_SHARE:.0f} % of rounds: "
        f"{ours:.3f} with seed {applied.seed}, {theirs:.3f} with the plan's seed "
        f"{applied.plan.request['seed']}: {100 * (ours - theirs):+.1f} points. Expected were "
        f"{planned.expected_accuracy:.3f}{_interval_clause(planned, made)}."
    )


def _interval_clause(planned: Outcome, made: Outcome) -> str:
    if planned.interval is None:
        return ""
    low, high = planned.interval.low, planned.interval.high
    where = "within" if low <= made.smoothed_accuracy <= high else "outside"
    return f" ({100 * LEVEL:.0f} % interval {low:.3f} to {high:.3f}); the new seed is {where} it"


def save(applied: AppliedPlan, folder: Path) -> None:
    """Write adapter, ``curve.csv``, ``curve.png`` and ``applied.json`` into a folder.

    Raises:
        RecordError: A file cannot be written.
    """
    from floss_sim.plots import figure as base
    from planner.report.plan_plots import applied_frame, draw_applied

    create_folder(folder)
    write_model(applied, folder)
    planned, request = applied.plan.recommendation, applied.plan.request
    frame = applied_frame(applied.outcome.curve, planned.curve, applied.seed, request["seed"])
    told = planned.interval
    ends = (planned.rounds, told.low, told.mean, told.high) if told else None
    title = f"{request['task']} on {request['network']}: {planned.candidate}"
    base.save(draw_applied(frame, title, ends), folder / "curve.png")
    write_atomically(folder / "applied.json", json.dumps(applied.to_json(), indent=2) + "\n")
