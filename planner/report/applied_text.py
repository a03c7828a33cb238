"""Report of an applied plan: planned, predicted and realised values as rows, text and files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from floss_sim.analysis.last_part import SMOOTHED_SHARE
from floss_sim.analysis.on_test import AccuracyOnTest
from floss_sim.analysis.time_spread import MEDIAN, TimeSpread, fleet_quantile
from floss_sim.files import write_atomically
from floss_sim.units import common_unit, format_bytes, format_duration, format_predicted_bytes
from planner.apply import AppliedPlan, write_model
from planner.decisions.another_seed import SeedDifference
from planner.forecasts.intervals import LEVEL, Interval
from planner.plans.outcome import Outcome
from planner.plans.plan import Plan
from planner.report.explanation_text import chance_clause
from planner.report.on_test_text import points_text
from planner.report.plan_folder import create_folder
from planner.report.privacy_text import epsilon_text
from planner.report.time_text import median_s, time_words, traffic_sentence
from planner.report.usage_text import USAGE_COLUMNS, usage_cells

_OWN_ADAPTER = "The adapter is the server's, without what clients keep."


def rows(applied: AppliedPlan) -> list[tuple[str, ...]]:
    """Return the table rows: planned, predicted without training, and realised values."""
    planned, predicted, made = applied.plan.recommendation, applied.prediction, applied.outcome
    nbytes = _predicted_bytes(predicted) if predicted else "-"
    return [
        ("rounds", str(planned.rounds), "-", str(made.rounds)),
        (
            "validation accuracy",
            _accuracy_text(planned.expected_accuracy, planned.interval),
            "-",
            _accuracy_text(made.expected_accuracy, made.interval),
        ),
        (
            "test accuracy",
            _accuracy_text(planned.test_accuracy, planned.test),
            "-",
            _accuracy_text(made.test_accuracy, made.test),
        ),
        ("bytes", format_bytes(planned.total_bytes), nbytes, format_bytes(made.total_bytes)),
        *_time_rows(applied),
        *_usage_rows(applied),
        *_privacy_rows(applied),
    ]


def _usage_rows(applied: AppliedPlan) -> list[tuple[str, ...]]:
    """Return the rows of devices, energy and money; empty for plans that do not tell them."""
    planned, made = applied.plan.recommendation.usage, applied.outcome.usage
    if planned is None:
        return []
    figures = zip(USAGE_COLUMNS[1:], usage_cells(planned), usage_cells(made), strict=True)
    return [(name, one, "-", other) for name, one, other in figures]


def _privacy_rows(applied: AppliedPlan) -> list[tuple[str, ...]]:
    """Return the row of the epsilon that the rounds spend; empty without privacy."""
    planned, made = applied.plan.recommendation.privacy, applied.outcome.privacy
    if planned is None or made is None:
        return []
    name = f"epsilon at delta {made.delta:g}"
    return [(name, epsilon_text(planned), "-", epsilon_text(made))]


def _time_rows(applied: AppliedPlan) -> list[tuple[str, ...]]:
    """Return the rows of simulated times: the medians, and those of another confidence."""
    planned, predicted, made = applied.plan.recommendation, applied.prediction, applied.outcome
    if not _is_drawn(applied):
        told_s = predicted["own_fleet_s"] if predicted else None
        seconds = (planned.own_fleet_s, told_s, made.own_fleet_s)
        return [("simulated time", *_duration_texts(seconds))]
    confidence, times = (
        applied.plan.limit.budget.confidence,
        (planned.time, applied.predicted_time, made.time),
    )
    rows = [_time_row("median of fleets", times, MEDIAN)]
    if confidence != MEDIAN:
        rows.append(_time_row(f"{100 * confidence:.4g} % of fleets", times, confidence))
    return rows


def _time_row(what: str, times: Iterable[TimeSpread | None], confidence: float) -> tuple[str, ...]:
    """Return the row of the seconds within which runs end in a fraction of fleets."""
    seconds = [float(fleet_quantile(t.seconds, confidence)) if t else None for t in times]
    return (f"simulated time, {what}", *_duration_texts(seconds))


def _is_drawn(applied: AppliedPlan) -> bool:
    made = applied.outcome.time
    return made is not None and made.draws > 1


def _duration_texts(seconds: Sequence[float | None]) -> list[str]:
    """Return the durations of a row, in one unit if possible."""
    unit = common_unit(each for each in seconds if each is not None)
    return ["-" if each is None else format_duration(each, unit) for each in seconds]


def _accuracy_text(mean: float | None, told: Interval | AccuracyOnTest | None) -> str:
    """Return an accuracy with half of its interval, as far as they are known."""
    if mean is None:
        return "-"
    return f"{mean:.3f}" + (f"±{(told.high - told.low) / 2:.3f}" if told else "")


def _predicted_bytes(predicted: Mapping[str, float]) -> str:
    """Return the predicted bytes, with the error of such predictions if the plan has it."""
    nbytes, error = predicted["total_bytes"], predicted.get("total_bytes_error")
    return format_bytes(nbytes) if error is None else format_predicted_bytes(nbytes, error)


def sentences(applied: AppliedPlan) -> list[str]:
    """Return the sentences on the difference between the plan and the result."""
    predicted, made = applied.prediction, applied.outcome
    apart = applied.difference
    lines = [
        f"{made.candidate}, seed {applied.seed}{'' if apart else ' as planned'}: "
        f"{applied.trained} rounds were trained now.",
        *(_seed_sentences(applied, apart) if apart else [_known_run_sentence(applied)]),
    ]
    if predicted:
        told = applied.predicted_time
        pairs = (
            (predicted["total_bytes"], made.total_bytes),
            (told.median_s if told else predicted["own_fleet_s"], median_s(made)),
        )
        errors = (f"{100 * (one / other - 1):+z.1f} %" if other else "n/a" for one, other in pairs)
        lines.append(
            "The prediction without training is off by {} in bytes, {} in seconds.".format(*errors)
        )
    if _is_drawn(applied):
        lines.append(f"The realised run takes {time_words(made)}.")
    lines += traffic_sentence(applied.plan)
    if applied.plan.measures_own:
        lines.append(
            f"Every accuracy is an own accuracy: {applied.plan.measure_text}. {_OWN_ADAPTER}"
        )
    lines.append(f"± of an accuracy is half of its {100 * LEVEL:.0f} % interval.")
    return [*_chance_sentence(applied.plan), *lines]


def _chance_sentence(plan: Plan) -> list[str]:
    """Return the warning that the plan's search has learned nothing; empty if it has."""
    if plan.learned or plan.chance is None:
        return []
    return [
        f"Nothing was learned: the plan's best validation accuracy, {plan.best_accuracy:.3f}, "
        f"{chance_clause(plan.chance, own=plan.measures_own)}. Plan again with more "
        "rounds, other learning rates or a larger budget."
    ]


def _known_run_sentence(applied: AppliedPlan) -> str:
    """Return that the run is known to the plan, and which seed would be new."""
    plan = applied.plan
    own = applied.seed == plan.request["seed"]
    what = "This is the run by which the plan was chosen" if own else "The plan rests on this seed"
    return (
        f"{what}: nothing new was measured. `--seed {plan.next_seed}` trains it with another seed, "
        "and compares both."
    )


def _seed_sentences(applied: AppliedPlan, apart: SeedDifference) -> list[str]:
    """Return how far the run is from the plan's own run, and from what the plan expects."""
    planned, made = applied.plan.recommendation, applied.outcome
    ours, theirs = made.smoothed_accuracy, planned.smoothed_accuracy
    return [
        f"Validation accuracy, averaged over the last {100 * SMOOTHED_SHARE:.0f} % of rounds: "
        f"{ours:.3f} with seed {applied.seed}, {theirs:.3f} with the plan's seed "
        f"{apart.to_seed}: {points_text(apart.low, apart.mean, apart.high)}. Expected were "
        f"{planned.expected_accuracy:.3f}{_interval_clause(planned, made)}.",
        _test_difference_sentence(apart),
    ]


def _test_difference_sentence(apart: SeedDifference) -> str:
    """Return the difference on test, and what the intervals of both differences cover."""
    if apart.test is None:
        return (
            f"On test both are not compared: the store lacks the run with seed {apart.to_seed}. "
            "`floss-plan apply` without --seed trains it."
        )
    test = apart.test
    return (
        f"Test accuracy: {points_text(test.low, test.mean, test.high)}, paired on {test.examples} "
        "test examples. The intervals of both differences cover the choice of examples, not that "
        "of seeds: these are two runs of one configuration."
    )


def _interval_clause(planned: Outcome, made: Outcome) -> str:
    if planned.interval is None:
        return ""
    low, high = planned.interval.low, planned.interval.high
    where = "within" if low <= made.smoothed_accuracy <= high else "outside"
    return f" ({100 * LEVEL:.0f} % interval {low:.3f} to {high:.3f}); the new seed is {where} it"


def network_lines(applied: AppliedPlan) -> list[str]:
    """Return whose seconds the run's record has, and a command for those of the plan's network.

    Empty if the seconds are the same.
    """
    recorded = applied.folder.record().rounds["closed_at_s"]
    if recorded.to_pylist() == applied.record.rounds["closed_at_s"].to_pylist():
        return []
    origin = applied.plan.request["origin"]
    words = [str(applied.folder.path), "--network", origin["network"]]
    changes = _change_words(origin)  # which ``account`` has no options for
    command = ["replay", *words, *changes] if changes else ["account", *words]
    network = applied.folder.manifest().network
    return [
        f"Its record has the seconds of {network}; on the plan's network:",
        shlex.join(["floss-sim", *command]),
    ]


def _change_words(origin: Mapping[str, Any]) -> list[str]:
    """Return the options that change a network as an origin says."""
    made = {name: origin.get(name) for name in ("upload_ratio", "scale_down", "scale_up")}
    words = []
    for name, value in made.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", repr(float(value)).removesuffix(".0")]
    return [*words, "--framework", origin["framework"]] if origin.get("framework") else words


def save(applied: AppliedPlan, folder: Path) -> None:
    """Write adapter or model, ``curve.csv``, ``curve.png`` and ``applied.json`` into a folder.

    Raises:
        RecordError: A file cannot be written.
    """
    from floss_sim.plots import figure as base
    from planner.report.plan_plots import applied_frame, draw_applied

    create_folder(folder)
    write_model(applied, folder)
    planned, request = applied.plan.recommendation, applied.plan.request
    frame = applied_frame(applied.outcome.curve, planned.curve, applied.seed, request["seed"])
    known = planned.interval
    ends = (planned.rounds, known.low, known.mean, known.high) if known else None
    title = f"{request['task']} on {request['network']}: {planned.candidate}"
    base.save(draw_applied(frame, title, ends, applied.plan.measured_models), folder / "curve.png")
    told = {**applied.to_json(), "record": applied.folder.path.name}  # no path of this machine
    write_atomically(folder / "applied.json", json.dumps(told, indent=2) + "\n")
