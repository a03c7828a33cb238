"""A plan applied: its final model trained, in the store, and how far it came out as planned."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.on_test import difference_on_test, predictions_by_example
from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.analysis.traffic import Traffic
from floss_sim.errors import BudgetError, DivergedError, PlanError
from floss_sim.files import replace_file
from floss_sim.records import RunFolder, RunRecord
from floss_sim.runs.config import RunConfig
from floss_sim.runs.retiming import retime
from floss_sim.training import replace_adapter, training_facts
from floss_sim.training.model_card import ON_TEST, bytes_words
from planner.decisions.another_seed import SeedDifference, judged_alone
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.execution.trainer import Trainer
from planner.forecasts.intervals import LEVEL
from planner.plans.document_checks import first_difference
from planner.plans.outcome import Outcome, outcome_within
from planner.plans.plan import Plan
from planner.plans.spent_privacy import SpentPrivacy
from planner.plans.time_section import TimeSection
from planner.plans.usage_section import UsageSection
from planner.question.budget import Limit, parse_budget
from planner.question.cost import resolve_limit
from planner.question.origin import Origin
from planner.question.request import GLOBAL, Request

_SAME = 1e-9  # relative
_WAYS = ("down", "up")
_FACTS = ("fleet", "validation_examples", "test_examples", "judged")  # of a request, by its task


@dataclass(frozen=True)
class AppliedPlan:
    """A plan and what came of it.

    Attributes:
        plan: The plan.
        seed: Of the run.
        config: What was trained.
        outcome: Of the run, with its test accuracy.
        record: The run on the plan's network.
        folder: The run's folder in the store.
        limit: The plan's budget.
        trained: Rounds that were trained now.
        predicted_time: Simulated time of these rounds over the fleets that the network may draw, as
            predicted without training for the cohorts of this run; None if unknown.
        difference: How far the run is from the plan's own; None if the plan rests on its seed.
    """

    plan: Plan
    seed: int
    config: RunConfig
    outcome: Outcome
    record: RunRecord
    folder: RunFolder
    limit: Limit
    trained: int
    predicted_time: TimeSpread | None = None
    difference: SeedDifference | None = None

    @property
    def prediction(self) -> dict[str, Any] | None:
        """Bytes and seconds of these rounds as predicted without training, if the plan says so."""
        cost = self.plan.cost(self.outcome.candidate)
        if cost is None:
            return None
        messages = self.outcome.rounds * self.outcome.cohort
        time, total = self.predicted_time, cost["down_bytes"] + cost["up_bytes"]
        made = {
            "total_bytes": messages * total,
            "own_fleet_s": time.seconds[0] if time else self.outcome.rounds * cost["round_s"],
            "time": time and TimeSection.of(time).to_json(),
        }
        if "down_bytes_error" in cost:  # plans of older versions have none
            doubt = sum(cost[f"{w}_bytes"] * cost[f"{w}_bytes_error"] for w in _WAYS)
            made["total_bytes_error"] = doubt / total
        return made

    def to_json(self) -> dict[str, Any]:
        """Return what came of the plan as plain values, ``planned`` and ``predicted`` beside it."""
        planned = self.plan.recommendation
        made = self.outcome.to_json()
        del made["curve"]
        told = planned.interval.to_json(LEVEL) if planned.interval else None
        return {
            **made,
            "task": self.plan.request["task"],
            "network": self.plan.request["network"],
            "seed": self.seed,
            "trained_now_rounds": self.trained,
            "learned": self.plan.learned,
            "planned": {
                "seed": self.plan.request["seed"],
                "rounds": planned.rounds,
                "validation_accuracy": planned.expected_accuracy,
                "interval": told,
                "test": planned.test and planned.test.to_json(),
                "total_bytes": planned.total_bytes,
                "own_fleet_s": planned.own_fleet_s,
                "time": planned.time and TimeSection.of(planned.time).to_json(),
            },
            "predicted": self.prediction,
            "difference": self.difference and self.difference.to_json(),
            "record": str(self.folder.path.absolute()),
            "record_network": self.folder.manifest().network,
        }


def plan_request(plan: Plan, *, fetch: bool = False) -> Request:
    """Return the question that a plan answers, for its recommendation alone.

    Args:
        plan: As it was read.
        fetch: Whether what is not in the local hub cache may be downloaded.

    Raises:
        PlanError: The plan does not say where its task is, or something differs from the plan.
        ConfigError: The task or the network cannot be loaded.
    """
    asked = plan.request
    if not asked.get("origin"):
        raise PlanError(
            "the plan does not say how its task and network were loaded; give Request.of their "
            "names, with changes and upload_ratio, or an origin"
        )
    task, profile = Origin.model_validate(asked["origin"]).reload(fetch=fetch)
    request = Request(
        task=task,
        budget=parse_budget(plan.limit.budget.text),
        profile=profile,
        candidates=[plan.recommendation.candidate],
        reference_rank=asked["reference_rank"],
        max_rounds=asked["max_rounds"],
        effort=1.0,
        seed=asked["seed"],
        max_client_bytes=asked.get("max_client_bytes") or math.inf,
        max_round_s=asked.get("max_round_s") or math.inf,
        accuracy=asked.get("accuracy") or GLOBAL,
        privacy=plan.privacy,
    )
    _check_facts(asked, request)
    return request


def _check_facts(asked: Mapping[str, Any], request: Request) -> None:
    """Check that a plan's facts about its task are those of the loaded task.

    Raises:
        PlanError: A fact differs; the message names it.
    """
    now = request.to_json()
    for key in _FACTS:
        place = first_difference(asked.get(key, now[key]), now[key], f"request.{key}")
        if place:
            raise PlanError(f"{place}: it differs from the task {asked['task']} as it is loaded")


def train_recommendation(
    plan: Plan,
    request: Request,
    seed: int,
    trainer: Trainer,
    on_rounds: Callable[[int], None],
) -> AppliedPlan:
    """Train a plan's recommendation as far as it says; what the store holds is not trained again.

    Args:
        plan: The plan.
        request: Its question.
        seed: Of the run.
        trainer: Trainer of the run, with the store where the run is, or will be.
        on_rounds: Told a few times a second how many rounds the run has.

    Raises:
        PlanError: The plan's budget is not what its text means.
        BudgetError: With this seed the budget affords no evaluated round.
        DivergedError: The run diverged.
    """
    limit = resolve_limit(request)
    if not math.isclose(limit.amount, plan.limit.amount, rel_tol=_SAME):
        raise PlanError(
            f"the plan's budget of {plan.limit.budget.text} was {plan.limit.amount:.6g}, and is "
            f"{limit.amount:.6g} now; plan again"
        )
    planned = plan.recommendation
    seeded = replace(request, seed=seed)
    config = seeded.config(planned.candidate)
    limit = replace(limit, private_rounds=seeded.private_rounds())
    folder = trainer.store.folder(config)
    (trained,) = trainer.train(
        [(config, planned.rounds)], lambda: on_rounds(folder.manifest().rounds)
    )
    if trained is None:
        raise DivergedError(f"with seed {seed} the run diverged: {folder.divergence()}")
    record = retime(folder.record(), request.profile, config.work)
    outcome = _outcome(planned, record, request, limit, config.server.cohort)
    outcome, difference = _measured(plan, request, outcome, config, trainer)
    fleets = Fleets.of(request.profile, request.task.partition.clients)
    traffic, spent = Traffic.of(record), seeded.spent_privacy(planned.candidate, outcome.rounds)
    outcome = replace(
        outcome,
        time=fleets.spread(traffic, outcome.rounds),
        usage=UsageSection.of(traffic.until(outcome.rounds), limit),
        privacy=SpentPrivacy.of(spent) if spent else None,
    )
    predicted = Traffic.predict(config, outcome.rounds, request.profile.first_download)
    time = fleets.spread(predicted)
    return AppliedPlan(
        plan, seed, config, outcome, record, folder, limit, trained, time, difference
    )


def _measured(
    plan: Plan,
    request: Request,
    outcome: Outcome,
    config: RunConfig,
    trainer: Trainer,
) -> tuple[Outcome, SeedDifference | None]:
    """Return an outcome with its accuracies, and how far it is from the plan's own run.

    If the plan rests on this run, the accuracies are the plan's. Any other run is judged alone.
    """
    planned, known = plan.recommendation, config.seed in plan.seeds
    jobs = [(config, outcome.rounds)]
    if not known and (own := _own_run(plan, request, trainer.store)):
        jobs.append((own, planned.rounds))
    hits = trainer.on_test(jobs)
    predictions_E = predictions_by_example(config.task)
    examples = request.prediction_counts()["validation"]
    alone = judged_alone(outcome, planned, hits[:1], predictions_E, examples)
    if known:
        same = outcome.rounds == planned.rounds
        told = replace(alone, test=planned.test or alone.test, interval=planned.interval)
        return told if same else alone, None
    test = difference_on_test(hits[:1], hits[1:], predictions_E) if hits[1:] else None
    return alone, SeedDifference.of(alone, planned, request.seed, examples, test)


def _own_run(plan: Plan, request: Request, store: CurveStore) -> RunConfig | None:
    """Return the run by which a plan was chosen, if the store has its rounds."""
    config = request.config(plan.recommendation.candidate)
    folder = store.find(config)
    return config if folder and folder.manifest().rounds >= plan.recommendation.rounds else None


def _outcome(
    planned: Outcome, record: RunRecord, request: Request, limit: Limit, cohort: int
) -> Outcome:
    cap = last_evaluated_round(request.max_rounds)
    made = outcome_within(planned.candidate, record, limit, planned.rounds, cap, cohort)
    if made is None:
        raise BudgetError("with this seed the budget affords no evaluated round")
    return made


def realised_curve(applied: AppliedPlan) -> pa.Table:
    """Return one row for each evaluated round within the budget.

    Columns: ``round``, ``closed_at_s``, ``down_bytes`` and ``up_bytes`` (both cumulative),
    ``spent`` (share of the budget), ``accuracy`` and ``loss`` on validation.
    """
    record = applied.record
    spent_R = applied.limit.spending(record) / applied.limit.amount
    sums = {way: np.cumsum(record.rounds[f"{way}_bytes"].to_numpy()) for way in ("down", "up")}
    rows = record.evaluated().to_pylist()
    rows = [row for row in rows if row["round"] <= applied.outcome.rounds]
    return pa.Table.from_pylist(
        [
            {
                "round": row["round"],
                "closed_at_s": row["closed_at_s"],
                **{f"{way}_bytes": int(sums[way][row["round"] - 1]) for way in sums},
                "spent": float(spent_R[row["round"] - 1]),
                "accuracy": row["accuracy"],
                "loss": row["loss"],
            }
            for row in rows
        ]
    )


def _card_facts(applied: AppliedPlan) -> dict[str, str]:
    """Return the rows of the model's card: how it was trained, and its results."""
    made, interval = applied.outcome, applied.outcome.interval
    ends = f" ({interval.low:.3f} to {interval.high:.3f})" if interval else ""
    validation = f"{made.expected_accuracy:.3f}{ends}"
    network = applied.plan.request["network"]
    results = {
        "rounds": str(made.rounds),
        f"validation accuracy ({100 * LEVEL:.0f} % interval)": validation,
        ON_TEST: made.test.describe() if made.test else "not measured",
        "bytes": bytes_words(made.down_bytes, made.up_bytes),
        f"simulated time on {network}": made.time.text if made.time else "unknown",
        "budget": applied.limit.budget.text,
    }
    if made.privacy:
        results["differential privacy of a client"] = made.privacy.text
    if applied.plan.measures_own:
        results["every accuracy"] = f"{applied.plan.measure_text}; the adapter is the server's"
    return training_facts(applied.config) | results


def write_model(applied: AppliedPlan, out: Path) -> None:
    """Write the adapter, or the whole model, and ``curve.csv`` into a folder that exists.

    Raises:
        RecordError: The store lacks the model of the last round, or a file cannot be written.
    """
    model = applied.folder.model(applied.outcome.rounds)
    replace_adapter(
        applied.config, model, out / applied.config.method.saved_as, _card_facts(applied)
    )
    with replace_file(out / "curve.csv") as temporary, temporary.open("wb") as file:
        csv.write_csv(realised_curve(applied), file)
