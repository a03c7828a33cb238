"""Schema and reader of ``plan.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, ConfigDict, Field, model_validator

from floss_sim import documents
from floss_sim.analysis.on_test import AccuracyOnTest, DifferenceOnTest
from floss_sim.documents import Section
from floss_sim.errors import BudgetError, PlanError
from floss_sim.toml_json import read_json, shorten, shorten_line
from planner.candidates import Candidate
from planner.forecasts.intervals import Interval
from planner.plans.answer import Answer
from planner.plans.cheaper_way import CheaperWay
from planner.plans.cluster_section import ClusterSection
from planner.plans.decision_section import DecisionsSection
from planner.plans.document_checks import first_difference, skewed_interval
from planner.plans.elsewhere import PLAN, TimesElsewhere
from planner.plans.explanation import Explanation
from planner.plans.method_result import Lack, MethodResult, MethodRun
from planner.plans.missing_baseline import Reason
from planner.plans.outcome import Outcome
from planner.plans.plan import PLAN_VERSION, Plan
from planner.plans.plan_checks import first_contradiction
from planner.plans.prior_section import PriorSection
from planner.plans.rate_test import RateTest
from planner.plans.request_section import OpenSection, RequestSection
from planner.plans.spent_privacy import SpentPrivacy
from planner.plans.stored_run import StoredRun
from planner.plans.straggler_section import SlowFleetsSection, StragglerSection
from planner.plans.time_section import TimeSection
from planner.plans.usage_section import UsageSection
from planner.question.budget import Budget, BudgetKind, Limit, parse_budget
from planner.question.field_types import (
    Accuracy,
    AccuracyChange,
    Amount,
    Configuration,
    Count,
    OneLine,
    Positive,
    PositiveInt,
)
from planner.question.objective import FrontPoint

PLAN_FILE = "plan.json"
_AXES = tuple(field.name for field in fields(Candidate))


class BudgetSection(Section):
    """``budget``: ``text`` as given, and the resolved ``amount`` in ``unit``."""

    text: OneLine
    kind: BudgetKind
    amount: Positive
    unit: OneLine
    confidence: Accuracy | None = None
    private_rounds: dict[PositiveInt, Count] = Field(default_factory=dict)


class _CandidateSection(Section):
    """A table that names a candidate by its settings."""

    candidate: Configuration

    @model_validator(mode="before")
    @classmethod
    def _gather_settings(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        settings = {axis: given[axis] for axis in _AXES if axis in given}
        rest = {key: value for key, value in given.items() if key not in settings}
        return {"candidate": settings, **rest}


class IntervalSection(Section):
    """Interval of an accuracy that holds the true one with probability ``level``."""

    low: Accuracy
    mean: Accuracy
    high: Accuracy
    level: Accuracy
    kind: Literal["measured", "forecast"]

    def interval(self) -> Interval:
        """Return the interval that this table describes."""
        return Interval(self.low, self.mean, self.high, self.kind)


class EvaluationSection(Section):
    """``last_evaluation``: accuracy and loss of the last evaluated round alone."""

    accuracy: Accuracy
    loss: Amount


class TestSection(Section):
    """``test``: a test accuracy, and what it is the mean of."""

    low: Accuracy
    mean: Accuracy
    high: Accuracy
    level: Accuracy
    examples: PositiveInt
    models: PositiveInt
    seeds: PositiveInt
    seed_sd: Amount | None

    def accuracy(self) -> AccuracyOnTest:
        """Return the test accuracy that this table describes."""
        counts = self.examples, self.models, self.seeds
        return AccuracyOnTest(self.low, self.mean, self.high, *counts, self.seed_sd)


class DifferenceSection(Section):
    """A paired difference of two test accuracies."""

    low: AccuracyChange
    mean: AccuracyChange
    high: AccuracyChange
    level: Accuracy
    examples: PositiveInt
    seeds: PositiveInt

    def difference(self) -> DifferenceOnTest:
        """Return the difference that this table describes."""
        return DifferenceOnTest(self.low, self.mean, self.high, self.examples, self.seeds)


class OutcomeSection(_CandidateSection):
    """A finished run. ``curve`` holds (round, share of the budget, accuracy).

    ``validation_accuracy`` is the expected one, the mean of ``interval``. Earlier plans call
    ``own_fleet_s`` ``simulated_s``.
    """

    rounds: PositiveInt
    validation_accuracy: Accuracy
    last_evaluation: EvaluationSection
    test_accuracy: Accuracy | None
    test: TestSection | None
    interval: IntervalSection | None
    down_bytes: PositiveInt
    up_bytes: PositiveInt
    down_bytes_per_client_round: Positive
    up_bytes_per_client_round: Positive
    own_fleet_s: Amount = Field(validation_alias=AliasChoices("own_fleet_s", "simulated_s"))
    time: TimeSection | None = None
    usage: UsageSection | None = None
    privacy: SpentPrivacy | None = None
    plan_faster: Accuracy | None = None
    budget_spent: Positive
    largest_round: Amount
    binds: OneLine
    cohort: PositiveInt
    curve: tuple[tuple[PositiveInt, Amount, Accuracy], ...]
    tie: bool

    def outcome(self) -> Outcome:
        """Return the outcome that this table describes."""
        return Outcome(
            candidate=self.candidate,
            rounds=self.rounds,
            accuracy=self.last_evaluation.accuracy,
            loss=self.last_evaluation.loss,
            down_bytes=self.down_bytes,
            up_bytes=self.up_bytes,
            own_fleet_s=self.own_fleet_s,
            spent=self.budget_spent,
            most=self.largest_round,
            binds=self.binds,
            cohort=self.cohort,
            curve=self.curve,
            test=self.test.accuracy() if self.test else None,
            interval=self.interval.interval() if self.interval else None,
            time=self.time.spread if self.time else None,
            usage=self.usage,
            privacy=self.privacy,
        )


class PointSection(_CandidateSection):
    """A point of the Pareto front: ``cost`` in ``cost_unit``."""

    rounds: PositiveInt
    validation_accuracy: Accuracy
    interval: IntervalSection
    cost: Positive
    cost_unit: OneLine
    budget_spent: Positive

    def point(self) -> FrontPoint:
        """Return the point that this table describes."""
        told, spent = self.interval, self.budget_spent
        return FrontPoint(self.candidate, self.rounds, spent, told.mean, told.low, told.high)


class CheaperSection(_CandidateSection):
    """A measured run within a ``share`` of the recommended run's bytes."""

    share: Accuracy
    rounds: PositiveInt
    bytes: PositiveInt
    bytes_per_client_round: Positive | None = None
    interval: IntervalSection

    def way(self) -> CheaperWay:
        """Return the cheaper way that this table describes."""
        made = self.interval.interval()
        return CheaperWay(self.share, self.candidate, self.rounds, self.bytes, made)


class MethodRunSection(_CandidateSection):
    """``run`` of a method: its best measured one."""

    rounds: PositiveInt
    bytes: PositiveInt
    budget_spent: Positive
    counts: bool
    interval: IntervalSection

    def run(self) -> MethodRun:
        """Return the run that this table describes."""
        made = self.interval.interval()
        return MethodRun(
            self.candidate, self.rounds, self.bytes, self.budget_spent, self.counts, made
        )


class MethodSection(Section):
    """What the search found of a method that was asked for."""

    method: OneLine
    candidates: Count
    affordable: Count
    begun: Count
    run: MethodRunSection | None
    lacks: Lack | None

    @model_validator(mode="after")
    def _check_run(self) -> MethodSection:
        if (self.run is None) == (self.lacks is None):
            raise ValueError("a method has a run, or lacks one")
        return self

    def result(self) -> MethodResult:
        """Return the result that this table describes."""
        counts = self.candidates, self.affordable, self.begun
        return MethodResult(self.method, *counts, self.run.run() if self.run else None, self.lacks)


class GapSection(Section):
    """How far a method's run is from the best method's."""

    method: OneLine
    low: AccuracyChange
    mean: AccuracyChange
    high: AccuracyChange
    bytes_ratio: Positive
    spent_ratio: Positive
    ties: bool


class ElsewhereSection(Section):
    """``times`` of the plan and of the baselines on another network."""

    network: OneLine
    times: dict[Literal["plan", "dense", "thesis_rule"], TimeSection]

    @model_validator(mode="after")
    def _check_plan(self) -> ElsewhereSection:
        if PLAN not in self.times:
            raise ValueError("times: the plan's own are missing")
        return self

    def times_elsewhere(self) -> TimesElsewhere:
        """Return the times that this table describes."""
        made = {str(name): section.spread for name, section in self.times.items()}
        return TimesElsewhere(self.network, made)


class EffortSection(OpenSection):
    """``effort``: size of the search, and the rounds that it asked for and trained."""

    search: OneLine
    searched: Count
    unaffordable: Count
    starters: Count
    replicated: Count | None = None
    seeds: tuple[Count, ...] | None = None
    grid_rounds: Count
    limit_rounds: Count
    search_rounds: Count
    seed_rounds: Count | None = None
    ended_early: bool | None = None
    trained_now_rounds: Count
    trained_now_runs: Count | None = None
    runs: Count | None = None
    left_out: dict[Literal["round_s", "client_bytes", "epsilon", "budget"], PositiveInt] = Field(
        default_factory=dict
    )
    training_s: Positive | None = None
    host_s_per_round: Positive | None = None
    workers: PositiveInt | None = None
    planned_rounds: Count | None = None
    took_s: Positive | None = None
    prior: PriorSection | None = None
    cluster: ClusterSection | None = None
    decisions: DecisionsSection | None = None


class CostSection(_CandidateSection):
    """Predicted cost of a candidate, and its calibration by the first rounds."""

    model_config = ConfigDict(extra="allow")
    down_bytes: PositiveInt
    up_bytes: PositiveInt
    down_bytes_error: Positive | None = None
    up_bytes_error: Positive | None = None
    round_s: Amount
    affordable_rounds: PositiveInt
    calibrated_rounds: Count | None = None


class PlanDocument(Section):
    """The whole of ``plan.json``."""

    plan_version: Literal[3]
    request: RequestSection
    budget: BudgetSection
    interrupted: bool
    recommendation: OutcomeSection
    in_time: Accuracy | None = None
    best_accuracy: Accuracy
    chance_accuracy: Accuracy | None = None
    most_frequent: Count | None = None
    learned: bool = True
    tie_margin: Amount
    runners_up: tuple[OutcomeSection, ...]
    baselines: dict[Literal["dense", "thesis_rule"], OutcomeSection | None] = Field(
        min_length=2, max_length=2
    )
    missing_baselines: dict[Literal["dense", "thesis_rule"], Reason] = Field(default_factory=dict)
    test_differences: dict[Literal["dense", "thesis_rule"], DifferenceSection]
    effort: EffortSection
    costs: tuple[CostSection, ...]
    baseline_costs: dict[Literal["dense", "thesis_rule"], CostSection] = Field(default_factory=dict)
    explanation: Explanation | None
    also: tuple[Answer, ...]
    reached: bool | None = None
    front: tuple[PointSection, ...] = ()
    cheaper: tuple[CheaperSection, ...] = ()
    traffic_alone: bool = False
    straggler: StragglerSection | None = None
    slow_fleets: SlowFleetsSection | None = None
    elsewhere: tuple[ElsewhereSection, ...] = ()
    better_stored: StoredRun | None = None
    rate_test: RateTest | None = None
    methods: tuple[MethodSection, ...] = ()
    method_gaps: tuple[GapSection, ...] = ()


def read_plan(path: Path) -> Plan:
    """Return the plan of a file, or of the ``plan.json`` in a folder.

    Local paths in the file are relative to its folder; those of the plan are absolute.

    Raises:
        PlanError: The file cannot be read, holds no plan, or holds one of another version or one
            whose figures contradict each other.
    """
    file = path / PLAN_FILE if path.is_dir() else path
    plan = plan_of(read_json(file, PlanError), str(file))
    return plan.with_origin(lambda origin: origin.absolute_from(file.parent))


def plan_of(content: Any, where: str) -> Plan:
    """Return the plan that plain values describe; its limit has no links.

    Args:
        content: Plain values, as :meth:`Plan.to_json` returns them.
        where: Name of the source, for error messages.

    Raises:
        PlanError: The values are no plan, one of another version, or one whose figures contradict
            each other.
    """
    if not isinstance(content, dict) or "plan_version" not in content:
        raise PlanError(f"{where} is no plan: it has no plan_version")
    version = content["plan_version"]
    if version != PLAN_VERSION:
        raise PlanError(
            f"{where} has plan version {shorten(version)}, not {PLAN_VERSION}; plan again: the "
            "curves of its search are in the store"
        )
    read = documents.validate(content, PlanDocument, PlanError, where)
    budget, cohort = _budget(read.budget, where), read.recommendation.cohort
    _check_references(read, where)
    plan = Plan(
        request={**content["request"], **read.request.model_dump(mode="json", exclude_unset=True)},
        limit=Limit(
            budget, read.budget.amount, (), cohort, private_rounds=read.budget.private_rounds
        ),
        recommendation=read.recommendation.outcome(),
        runners_up=tuple(one.outcome() for one in read.runners_up),
        best_accuracy=read.best_accuracy,
        margin=read.tie_margin,
        baselines={name: one.outcome() if one else None for name, one in read.baselines.items()},
        missing_baselines={str(name): why for name, why in read.missing_baselines.items()},
        test_differences={
            str(name): one.difference() for name, one in read.test_differences.items()
        },
        effort=_effort(content["effort"], read.effort),
        costs=tuple(_cost(*pair) for pair in zip(content["costs"], read.costs, strict=True)),
        baseline_costs={
            str(name): _cost(content["baseline_costs"][name], one)
            for name, one in read.baseline_costs.items()
        },
        explanation=read.explanation,
        also=read.also,
        interrupted=read.interrupted,
        reached=read.reached,
        front=tuple(one.point() for one in read.front),
        cheaper=tuple(one.way() for one in read.cheaper),
        chance=read.chance_accuracy,
        elsewhere=tuple(one.times_elsewhere() for one in read.elsewhere),
        traffic_alone=read.traffic_alone,
        straggler=read.straggler,
        slow_fleets=read.slow_fleets,
        better_stored=read.better_stored,
        rate_test=read.rate_test,
        methods=tuple(one.result() for one in read.methods),
    )
    _check_figures(plan, content, where)
    return plan


def _effort(given: Mapping[str, Any], read: EffortSection) -> dict[str, Any]:
    """Return the size of the search as plain values, its sections as their JSON."""
    told = {"prior": read.prior, "cluster": read.cluster, "decisions": read.decisions}
    parts = {name: section.to_json() for name, section in told.items() if section}
    return {**given, **read.model_dump(exclude_unset=True, exclude={*told}), **parts}


def _check_figures(plan: Plan, content: Mapping[str, Any], where: str) -> None:
    """Check that a plan's figures agree with each other.

    Raises:
        PlanError: Two figures contradict each other; the message names one of them.
    """
    problem = first_contradiction(plan)
    if not problem and (place := skewed_interval(content)):
        problem = f"{place}: it is not symmetric about its mean in log-odds"
    if not problem and (place := first_difference(content, plan.to_json())):
        problem = f"{place}: it contradicts the other figures of the plan"
    if problem:
        raise PlanError(f"{where}: {shorten_line(problem)}")


def _budget(read: BudgetSection, where: str) -> Budget:
    try:
        budget = parse_budget(read.text)
    except BudgetError as error:
        raise PlanError(f"{where}: budget.text: {shorten_line(str(error))}") from None
    if budget.kind != read.kind:
        raise PlanError(
            f"{where}: budget.kind: {shorten(read.text)} means {budget.kind}, not {read.kind}"
        )
    confidence = budget.confidence if budget.kind == "seconds" else None
    if confidence and read.confidence is None:
        raise PlanError(
            f"{where} was made when a budget of {shorten(read.text)} was spent on one fleet alone, "
            "not in the median of fleets; plan again: the curves of its search are in the store"
        )
    if read.confidence != confidence:
        raise PlanError(
            f"{where}: budget.confidence: {shorten(read.text)} means {confidence}, not "
            f"{read.confidence}"
        )
    return budget


def _check_references(read: PlanDocument, where: str) -> None:
    """Check that all settings are present to which causes and times refer."""
    request, effort = read.request, read.effort
    timed = [effort.training_s, effort.host_s_per_round, effort.workers]
    lacking = [
        f"request.{name}"
        for name, cause in (
            ("max_round_s", "round_s"),
            ("max_client_bytes", "client_bytes"),
            ("privacy", "epsilon"),
        )
        if cause in effort.left_out and getattr(request, name) is None
    ]
    if 0 < timed.count(None) < len(timed):
        lacking.append("one of effort.training_s, host_s_per_round and workers; give all or none")
    elif effort.seeds is not None and effort.replicated is None:
        lacking.append("effort.replicated, which belongs to effort.seeds")
    elif (effort.trained_now_runs is None) != (effort.runs is None):
        lacking.append("one of effort.trained_now_runs and runs; give both or none")
    elif (effort.planned_rounds is None) != (effort.took_s is None) or (
        effort.took_s is not None and effort.training_s is None
    ):
        lacking.append("one of effort.training_s, planned_rounds and took_s")
    if lacking:
        raise PlanError(f"{where} lacks {lacking[0]}")


def _cost(given: Mapping[str, Any], read: CostSection) -> dict[str, Any]:
    told = read.model_dump(exclude={"candidate"}, exclude_unset=True)
    return {**given, **read.candidate.settings(), **told}
