"""Planning: predicts costs, searches by training, and chooses the plan of a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import replace

from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.on_test import predictions_by_example
from floss_sim.analysis.stragglers import straggler_of
from floss_sim.analysis.traffic import Traffic
from floss_sim.errors import BudgetError, DivergedError
from planner.candidates import Candidate
from planner.decisions.cheaper import MeasuredRun, cheaper_ways
from planner.decisions.drawn_times import with_times
from planner.decisions.elsewhere import is_traffic_alone, times_elsewhere
from planner.decisions.explain import SearchResult, explain
from planner.decisions.on_test import ReportedOnTest
from planner.decisions.recommend import (
    choose,
    choose_cheapest,
    near_best_candidates,
    rounds_for_second_seeds,
)
from planner.decisions.target_search import PassStarter, UntilTarget, seek_cheaper, target_outcomes
from planner.execution.candidate_runs import CandidateRuns
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.execution.effort import Effort, allot
from planner.forecasts.intervals import KnownCurves
from planner.plans.cheaper_way import CheaperWay
from planner.plans.elsewhere import PLAN, TimesElsewhere
from planner.plans.outcome import Outcome
from planner.plans.plan import Plan
from planner.plans.straggler_section import StragglerSection
from planner.progress import OnProgress, Progress
from planner.question.cost import Costs, price
from planner.question.objective import FrontPoint, front
from planner.question.request import Request
from planner.search import DEFAULT_SEARCH, BoundedStrategy, check_search, strategy_maker
from planner.search.strategy import Strategy, search


class StoppedError(Exception):
    """The user interrupted a search that had finished a run; ``plan`` is the best plan so far."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("interrupted")
        self.plan = plan


def make_plan(
    request: Request,
    store: CurveStore,
    executor: Executor,
    on_progress: OnProgress,
    workers: int = 1,
) -> Plan:
    """Return the plan of a request, after a search that trains runs.

    Args:
        request: The question: task, budget, network, candidates and objective.
        store: Store of the learning curves.
        executor: Executor for training, of functions with picklable arguments.
        on_progress: Function that is called with the progress a few times a second.
        workers: Number of functions that the executor runs at once.

    Raises:
        BudgetError: No candidate can afford two rounds, or the effort finishes no run.
        ConfigError: There is no such search, or it lacks a library.
        StoppedError: The user interrupted the search; the error holds the best plan so far.
        KeyboardInterrupt: The user interrupted the search before a run had finished.
        RecordError: A run cannot be stored.
        DivergedError: Every run diverged.
    """
    request = request.checked()
    check_search(request.search)  # report an unknown name before anything else
    on_progress(Progress("predicting costs"))
    costs = price(request)
    effort = allot(request, costs, store, executor, workers)

    def start(name: str, costs: Costs, rounds: int) -> tuple[Strategy, CandidateRuns]:
        strategy = _strategy(request, name, costs, rounds)
        runs = CandidateRuns(
            request, costs, store, executor, on_progress, strategy.expected_rounds, workers
        )
        return strategy, runs

    kept = _reserved_rounds(request, costs, effort.rounds)
    strategy, runs = start(request.search, costs, effort.rounds - kept)
    interrupted = False
    try:
        _train(request, costs, runs, strategy, effort.rounds - kept, start)
        _replicate_finalists(request, costs, runs, effort.rounds)
    except KeyboardInterrupt:
        runs.stop()
        interrupted = True
    known = runs.known_curves()
    outcomes = _with_intervals(known, _outcomes(runs))
    found = _with_intervals(known, _target_outcomes(request, runs, known))
    if not outcomes and not found:
        if interrupted:
            raise KeyboardInterrupt
        if not runs.finished_candidates():
            raise DivergedError("every run diverged; lower the task's learning rates")
        raise BudgetError(
            "no run finished a round within the budget: real bytes exceed the predicted ones"
        )
    plan = _plan(request, costs, runs, known, outcomes, found, effort)
    plan = _with_times(request, runs, plan)
    if interrupted:
        raise StoppedError(replace(plan, interrupted=True))
    return plan


def _strategy(request: Request, name: str, costs: Costs, rounds: int) -> BoundedStrategy:
    return strategy_maker(name)(
        {c: costs.of[c].horizon for c in costs.searched},
        {c: costs.of[c].run_bytes for c in costs.searched},
        rounds,
        request.seed,
        last_evaluated_round,
        request.prediction_counts()["validation"],
    )


def _reserved_rounds(request: Request, costs: Costs, effort: int) -> int:
    """Return the rounds that are reserved for another seed of the finalists."""
    if request.search != DEFAULT_SEARCH or request.objective.target is not None:
        return 0
    return rounds_for_second_seeds(effort, [costs.of[c].horizon for c in costs.searched])


def _train(
    request: Request,
    costs: Costs,
    runs: CandidateRuns,
    strategy: Strategy,
    effort: int,
    start: PassStarter,
) -> None:
    """Search for the best accuracy, or for a target and then for cheaper runs that reach it."""
    target = request.objective.target
    search(strategy if target is None else UntilTarget(strategy, runs, target), runs.extend)
    reached = _target_outcomes(request, runs, runs.known_curves())
    if reached.keys() & set(costs.searched):
        seek_cheaper(request, costs, runs, effort, start)
    else:
        runs.finish(runs.finished_candidates(), effort)


def _replicate_finalists(request: Request, costs: Costs, runs: CandidateRuns, effort: int) -> None:
    """Train the finalists with another seed, as far as the effort allows."""
    known = {
        c: outcome.interval
        for c, outcome in _with_intervals(runs.known_curves(), _outcomes(runs)).items()
        if outcome.interval and c in costs.searched
    }
    left = effort - sum(runs.asked.values())
    if request.objective.target is None and known:
        runs.replicate(near_best_candidates(known, runs.targets, left), request.seed + 1)


def _with_intervals(
    known: KnownCurves, outcomes: Mapping[Candidate, Outcome]
) -> dict[Candidate, Outcome]:
    """Return outcomes with the intervals of their accuracy, given all known curves."""
    made = known.intervals({c: outcome.rounds for c, outcome in outcomes.items()})
    return {c: replace(outcome, interval=made[c]) for c, outcome in outcomes.items()}


def _target_outcomes(
    request: Request, runs: CandidateRuns, known: KnownCurves
) -> dict[Candidate, Outcome]:
    """Return the runs that reached the target, cut where they did; empty without a target."""
    target = request.objective.target
    return {} if target is None else target_outcomes(runs, known.history, known, target)


def _outcomes(runs: CandidateRuns) -> dict[Candidate, Outcome]:
    found = {c: runs.outcome(c) for c in runs.finished_candidates()}
    return {c: outcome for c, outcome in found.items() if outcome}


def _plan(
    request: Request,
    costs: Costs,
    runs: CandidateRuns,
    known: KnownCurves,
    outcomes: Mapping[Candidate, Outcome],
    found: Mapping[Candidate, Outcome],
    effort: Effort,
) -> Plan:
    """Choose by validation accuracy, then measure the test accuracy of the reported runs."""
    examples = request.prediction_counts()["validation"]
    reaching = list(found.values())
    choice = choose_cheapest(reaching) if reaching else choose(list(outcomes.values()), examples)
    baselines = request.baselines()
    best = choice.recommendation
    shown = {**outcomes, **found}
    horizons = {c: runs.horizon(c) for c in costs.searched}
    result = SearchResult(shown, known, horizons, request.max_rounds)
    reported = {best.candidate, *baselines.values()} & shown.keys()
    hits = runs.hits_on_test([shown[c] for c in sorted(reported)])
    on_test = ReportedOnTest(hits, predictions_by_example(request.task), known.seed_deviation)
    tested = {c: on_test.outcome(shown[c]) for c in reported}
    said = explain(best, runs.timed_record(best.candidate), request.profile, costs.limit, result)
    return Plan(
        request=request.to_json(),
        limit=costs.limit,
        recommendation=tested[best.candidate],
        runners_up=choice.others,
        margin=choice.margin,
        best_accuracy=choice.best_accuracy,
        baselines={name: tested.get(candidate) for name, candidate in baselines.items()},
        test_differences=on_test.differences(best.candidate, baselines),
        effort={
            "search": request.search,
            "searched": len(costs.searched),
            "unaffordable": len(set(request.candidates)) - len(costs.searched),
            "left_out": dict(costs.left_out),
            "starters": len(runs.asked),
            "grid_rounds": costs.grid_rounds,
            "limit_rounds": effort.rounds,
            "search_rounds": sum(runs.asked.values()) + runs.again_rounds,
            "replicated": len(runs.again),
            "trained_now_rounds": runs.trained,
            **effort.to_json(),
        },
        costs=tuple(
            {**c.settings(), **costs.of[c].to_json(), **runs.calibration_values(c)}
            for c in costs.searched
        ),
        explanation=said.target_part() if reaching else said,
        reached=None if request.objective.target is None else bool(reaching),
        front=_front(costs, runs, known) if request.objective.pareto else (),
        chance=request.chance_accuracy(),
        elsewhere=_elsewhere(request, best, {n: shown.get(c) for n, c in baselines.items()}, runs),
        traffic_alone=is_traffic_alone(request.profile, request.task.partition.clients),
        straggler=_straggler(best, costs, runs),
        cheaper=() if reaching else _cheaper(best, costs, runs, known),
    )


def _with_times(request: Request, runs: CandidateRuns, plan: Plan) -> Plan:
    """Return a plan whose runs have their times over the fleets that the network may draw."""
    fleets = Fleets.of(request.profile, request.task.partition.clients)
    return with_times(plan, lambda c: Traffic.of(runs.timed_record(c)), fleets)


def _straggler(best: Outcome, costs: Costs, runs: CandidateRuns) -> StragglerSection | None:
    """Return the client that decides how long the recommended run takes, or None."""
    found = straggler_of(runs.timed_record(best.candidate), best.rounds)
    return StragglerSection.of(found, costs.limit.links[found.client]) if found else None


def _elsewhere(
    request: Request,
    best: Outcome,
    baselines: Mapping[str, Outcome | None],
    runs: CandidateRuns,
) -> tuple[TimesElsewhere, ...]:
    """Return the times of the recommendation and the baselines on other networks."""
    made = {PLAN: best, **{name: outcome for name, outcome in baselines.items() if outcome}}
    traffic = {
        name: Traffic.of(runs.timed_record(outcome.candidate)).until(outcome.rounds)
        for name, outcome in made.items()
    }
    clients = request.task.partition.clients
    return tuple(times_elsewhere(traffic, request.profile, clients))


def _cheaper(
    best: Outcome, costs: Costs, runs: CandidateRuns, known: KnownCurves
) -> tuple[CheaperWay, ...]:
    """Return what shares of the recommended run's bytes would reach."""
    return cheaper_ways(best.total_bytes, dict(_measured_runs(costs, runs)), known.intervals_at)


def _measured_runs(costs: Costs, runs: CandidateRuns) -> Iterator[tuple[Candidate, MeasuredRun]]:
    for candidate in runs.history():
        outcome = runs.outcome(candidate) if candidate in costs.searched else None
        if outcome:
            evaluated = [round_ for round_, _, _ in outcome.curve]
            total_R = runs.total_bytes(candidate)
            yield candidate, MeasuredRun(evaluated, [total_R[round_ - 1] for round_ in evaluated])


def _front(costs: Costs, runs: CandidateRuns, known: KnownCurves) -> tuple[FrontPoint, ...]:
    cuts = {c: runs.outcome(c) for c in known.history if c in costs.searched}
    curves = {c: outcome.curve for c, outcome in cuts.items() if outcome}
    return front(curves, known.intervals_at)
