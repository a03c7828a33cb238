"""Plan: the recommendation, its runners-up and baselines, and how they were chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from floss_sim.analysis.on_test import DifferenceOnTest
from floss_sim.runs.own_data import own_data_text
from planner.candidates import Candidate
from planner.plans.answer import Answer
from planner.plans.cheaper_way import CheaperWay
from planner.plans.elsewhere import TimesElsewhere
from planner.plans.explanation import Explanation
from planner.plans.method_result import MethodGap, MethodResult, method_gaps
from planner.plans.missing_baseline import Reason
from planner.plans.outcome import Outcome
from planner.plans.rate_test import RateTest
from planner.plans.stored_run import StoredRun
from planner.plans.straggler_section import SlowFleetsSection, StragglerSection
from planner.question.budget import Limit
from planner.question.objective import FrontPoint
from planner.question.origin import Origin
from planner.question.privacy import Privacy

CHANCE_ERRORS = 2.0  # standard errors by which a run must beat chance
_SAME = 1e-9  # relative difference of equal figures
PLAN_VERSION = 3  # version of plan.json, which planner.plans.plan_file reads


def beats_chance(accuracy: float, chance: float, examples: int) -> bool:
    """Return whether an accuracy exceeds that of chance by ``CHANCE_ERRORS`` standard errors.

    Args:
        accuracy: The accuracy, 0 to 1.
        chance: Accuracy of always predicting the most frequent class, 0 to 1.
        examples: Examples that both are measured on.
    """
    error = math.sqrt(chance * (1 - chance) / examples)
    return accuracy > chance + CHANCE_ERRORS * error


@dataclass(frozen=True)
class Plan:
    """Answer to a request, with the evidence behind it.

    Attributes:
        request: The request, as plain values.
        limit: The budget on the plan's network.
        recommendation: The preferred one of the finished runs within ``margin`` of the best.
        runners_up: The other finished runs, best expected accuracy first.
        best_accuracy: The best expected accuracy of a finished run.
        margin: Largest difference of expected accuracies at which a run ties with the best.
        baselines: Trained baselines at the same budget, by name; None if there is no run.
        missing_baselines: Why there is none, by the baseline's name.
        test_differences: Test accuracy of the recommendation less that of each other baseline,
            paired by example and seed, by the baseline's name.
        effort: The search's name, the rounds that it asked for, and the rounds and runs really
            trained.
        costs: Cost of each affordable candidate, predicted without training: bytes of a download
            and of an upload, seconds of a round, affordable rounds. A trained candidate also has
            the ratio of real to predicted bytes in its first rounds, and the rounds affordable by
            it. A finished candidate also has the error of this ratio in its later rounds.
        baseline_costs: The same of the baselines that keep to the limits, by the baseline's name.
        explanation: Round time, neighbours, and the value of more budget or search.
        also: Answers for other budgets and networks, from stored curves.
        interrupted: Whether the search was stopped before its end.
        reached: Whether a run reached the target; None without a target.
        front: Pareto front of accuracy against cost, cheapest first; empty if not asked for.
        elsewhere: Simulated times of the recommendation and the baselines on other networks.
        slow_fleets: The fleets on which a single client takes most of the recommended run's time;
            None if there is none, or if this is not known.
        straggler: The client that decides how long the recommended run takes; None if none does.
        traffic_alone: Whether the plan's network has no round trip and no compute.
        chance: Validation accuracy of always predicting the most frequent class, 0 to 1, in plans
            of own models that of each client; None if unknown.
        cheaper: Measured runs with a share of the recommended run's bytes, most bytes first.
        better_stored: A clearly better run of another search that the store holds; None if there
            is none, or if the plan was made without a look at the store's other runs.
        rate_test: Short runs with learning rates around the task's; None if there were none.
        methods: What was found of each method that was asked for, best first; empty for a single
            method.
    """

    request: Mapping[str, Any]
    limit: Limit
    recommendation: Outcome
    runners_up: tuple[Outcome, ...]
    best_accuracy: float
    margin: float
    baselines: Mapping[str, Outcome | None]
    effort: Mapping[str, Any]
    missing_baselines: Mapping[str, Reason] = field(default_factory=dict)
    test_differences: Mapping[str, DifferenceOnTest] = field(default_factory=dict)
    costs: tuple[Mapping[str, Any], ...] = ()
    baseline_costs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    explanation: Explanation | None = None
    also: tuple[Answer, ...] = ()
    interrupted: bool = False
    reached: bool | None = None
    front: tuple[FrontPoint, ...] = ()
    cheaper: tuple[CheaperWay, ...] = ()
    chance: float | None = None
    elsewhere: tuple[TimesElsewhere, ...] = ()
    traffic_alone: bool = False
    straggler: StragglerSection | None = None
    slow_fleets: SlowFleetsSection | None = None
    better_stored: StoredRun | None = None
    rate_test: RateTest | None = None
    methods: tuple[MethodResult, ...] = ()

    @property
    def target(self) -> float | None:
        """The accuracy to reach at the lowest cost, 0 to 1; None without a target."""
        objective = self.request.get("objective") or {}
        target: float | None = objective.get("target")
        return target

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs on which the recommendation's figures rest, the request's first."""
        known, tested = self.effort.get("seeds"), self.recommendation.test
        if not known:
            return (self.request["seed"],)
        return tuple(known)[: tested.seeds] if tested else tuple(known)

    @property
    def next_seed(self) -> int:
        """The first seed above the request's with which the plan knows no run at all."""
        seeds: tuple[int, ...] = self.effort.get("seeds") or (self.request["seed"],)
        return 1 + max(seeds)

    @property
    def measures_own(self) -> bool:
        """Whether accuracies are means over clients of each one's own model."""
        return self.request.get("accuracy") == "own"

    @property
    def measure_text(self) -> str:
        """What every accuracy is, in words; empty if it is that of one model for all clients."""
        law = (self.request.get("fleet") or {}).get("law", "")
        return own_data_text(law) if self.measures_own else ""

    @property
    def privacy(self) -> Privacy | None:
        """Clip and noise of all runs, and the epsilon at which they end; None for neither."""
        asked = self.request.get("privacy")
        return Privacy.of_json(asked) if asked else None

    @property
    def measured_models(self) -> str:
        """Which models the accuracies are of, as axes of plots name them."""
        return "clients' own models" if self.measures_own else "P·M"

    @property
    def learned(self) -> bool:
        """Whether the best run beats chance by ``CHANCE_ERRORS`` standard errors."""
        if self.chance is None:
            return True
        examples = self.request["judged"]["validation"]
        return beats_chance(self.best_accuracy, self.chance, examples)

    @property
    def most_frequent(self) -> int | None:
        """The validation predictions of the most frequent class; None if unknown, or of own models.

        Own models may always name a class each, which is no share of the predictions.
        """
        predictions: int = self.request["judged"]["validation"]
        if self.chance is None or self.measures_own:
            return None
        return round(self.chance * predictions)

    def ties(self, outcome: Outcome) -> bool:
        """Return whether an outcome ties with the best: within ``margin`` of its accuracy."""
        return outcome.expected_accuracy >= self.best_accuracy - self.margin

    @property
    def method_gaps(self) -> list[MethodGap]:
        """How far the other measured methods are from the best one, in the order of ``methods``."""
        return method_gaps(self.methods, self.margin)

    def cost(self, candidate: Candidate) -> Mapping[str, Any] | None:
        """Return the predicted cost of a candidate or baseline; None if the plan has none."""
        every = (*self.costs, *self.baseline_costs.values())
        return next((cost for cost in every if Candidate.of_settings(cost) == candidate), None)

    def affordable_rounds(self, candidate: Candidate) -> int | None:
        """Return the rounds that the budget affords a candidate, by real bytes where known.

        None if the plan has no cost of it.
        """
        made = self.cost(candidate)
        return None if made is None else made.get("calibrated_rounds", made["affordable_rounds"])

    def faster_than(self, outcome: Outcome) -> float | None:
        """Return the fraction of common fleets on which the recommendation ends before a run.

        A tie counts as a half. None for the recommendation itself, and if a time is unknown.
        """
        mine = self.recommendation
        if outcome.candidate == mine.candidate or not (mine.time and outcome.time):
            return None
        return mine.time.fraction_faster(outcome.time)

    @property
    def in_time(self) -> float | None:
        """The fraction of fleets on which the recommendation ends within a budget of seconds.

        None for other budgets, and if the time is unknown.
        """
        made = self.recommendation.time
        if self.limit.budget.kind != "seconds" or made is None:
            return None
        return sum(s <= self.limit.amount * (1 + _SAME) for s in made.seconds) / made.draws

    @property
    def runs(self) -> dict[str, Outcome]:
        """The recommendation, the runners-up and the trained baselines, by their places."""
        made = {"recommendation": self.recommendation}
        made |= {f"runners_up.{i}": outcome for i, outcome in enumerate(self.runners_up)}
        return made | {f"baselines.{name}": one for name, one in self.baselines.items() if one}

    def with_runs(self, change: Callable[[Outcome], Outcome]) -> Self:
        """Return the plan with a change of each of its runs."""
        return replace(
            self,
            recommendation=change(self.recommendation),
            runners_up=tuple(map(change, self.runners_up)),
            baselines={name: made and change(made) for name, made in self.baselines.items()},
        )

    def with_origin(self, change: Callable[[Origin], Origin]) -> Self:
        """Return the plan with the origin of its task and network changed, if it has one."""
        given = self.request.get("origin")
        if not given:
            return self
        changed = change(Origin.model_validate(given)).model_dump(mode="json", exclude_unset=True)
        return replace(self, request={**self.request, "origin": changed})

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""

        def one(outcome: Outcome) -> dict[str, Any]:
            faster = self.faster_than(outcome)
            return {**outcome.to_json(), "plan_faster": faster, "tie": self.ties(outcome)}

        budget, private = self.limit.budget, self.limit.private_rounds
        return {
            "plan_version": PLAN_VERSION,
            "request": dict(self.request),
            "budget": {
                "text": budget.text,
                "kind": budget.kind,
                "amount": self.limit.amount,
                "unit": budget.unit,
                **({"confidence": budget.confidence} if budget.kind == "seconds" else {}),
                **({"private_rounds": {str(n): r for n, r in private.items()}} if private else {}),
            },
            "interrupted": self.interrupted,
            "recommendation": one(self.recommendation),
            "in_time": self.in_time,
            "best_accuracy": self.best_accuracy,
            "chance_accuracy": self.chance,
            "most_frequent": self.most_frequent,
            "learned": self.learned,
            "tie_margin": self.margin,
            "runners_up": [one(outcome) for outcome in self.runners_up],
            "baselines": {
                name: outcome and one(outcome) for name, outcome in self.baselines.items()
            },
            "missing_baselines": dict(self.missing_baselines),
            "test_differences": {
                name: made.to_json() for name, made in self.test_differences.items()
            },
            "effort": dict(self.effort),
            "costs": [dict(cost) for cost in self.costs],
            "baseline_costs": {name: dict(cost) for name, cost in self.baseline_costs.items()},
            "explanation": self.explanation and self.explanation.model_dump(mode="json"),
            "also": [answer.to_json() for answer in self.also],
            "reached": self.reached,
            "front": [point.to_json(self.limit.amount, budget.unit) for point in self.front],
            "traffic_alone": self.traffic_alone,
            "better_stored": self.better_stored and self.better_stored.to_json(),
            "rate_test": self.rate_test and self.rate_test.to_json(),
            "slow_fleets": self.slow_fleets and self.slow_fleets.to_json(),
            "straggler": self.straggler and self.straggler.to_json(),
            "elsewhere": [times.to_json() for times in self.elsewhere],
            "cheaper": [
                way.to_json(way.candidate.cohort_size or self.recommendation.cohort)
                for way in self.cheaper
            ],
            "methods": [result.to_json() for result in self.methods],
            "method_gaps": [gap.to_json() for gap in self.method_gaps],
        }
