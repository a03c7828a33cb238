"""Planning: predicts costs, searches by training, and chooses the plan of a request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.stragglers import straggler_of
from floss_sim.analysis.traffic import Traffic
from floss_sim.errors import BudgetError, DivergedError, FlossError
from floss_sim.units import format_duration
from planner.candidates import Candidate
from planner.decisions.async_offer import async_offer
from planner.decisions.async_search import (
    MANY_WORKERS,
    check_async,
    decisions_section,
    recorded_decisions,
)
from planner.decisions.baselines import baseline_costs, cost_values, missing_baselines
from planner.decisions.cheaper import MeasuredRun, cheaper_ways
from planner.decisions.cluster_use import cluster_section
from planner.decisions.drawn_times import with_times
from planner.decisions.elsewhere import times_elsewhere
from planner.decisions.explain import SearchResult, explain
from planner.decisions.method_leaders import train_method_leaders
from planner.decisions.method_results import method_results
from planner.decisions.on_test import ReportedOnTest
from planner.decisions.recommend import choose, choose_cheapest
from planner.decisions.search_passes import SearchPasses, make_strategy, reserved_rounds
from planner.decisions.stored_start import stored_start
from planner.decisions.training import (
    options_of,
    reached_outcomes,
    train_further_runs,
    train_further_seeds,
    train_search,
    with_intervals,
)
from planner.decisions.used_prior import used_prior
from planner.execution.begin import BegunSearch, OnEstimate, begin_search
from planner.execution.candidate_runs import CandidateRuns
from planner.execution.rate_test import RangeTest, length_of_test, with_rates
from planner.execution.trainer import Trainer, UntestedError
from planner.forecasts.intervals import KnownCurves
from planner.plans.cheaper_way import CheaperWay
from planner.plans.elsewhere import PLAN, TimesElsewhere
from planner.plans.outcome import Outcome
from planner.plans.plan import Plan
from planner.plans.rate_test import RateTest
from planner.plans.spent_privacy import SpentPrivacy
from planner.plans.straggler_section import StragglerSection
from planner.progress import OnProgress, Progress
from planner.question.baselines import NAMES
from planner.question.cost import Costs, price
from planner.question.objective import FrontPoint, front
from planner.question.request import Request
from planner.search import DEFAULT_SEARCH, check_search


class StoppedError(Exception):
    """A search that had finished a run was interrupted; ``plan`` is the best plan so far."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("interrupted")
        self.plan = plan


def make_plan(
    request: Request,
    trainer: Trainer,
    on_progress: OnProgress,
    on_estimate: OnEstimate | None = None,
    clock: Callable[[], float] = time.monotonic,
    replayed: Plan | None = None,
) -> Plan:
    """Return the plan of a request, after a search that trains runs.

    Args:
        request: The question: task, budget, network, candidates and objective.
        trainer: Trainer of the runs, with the store of the learning curves.
        on_progress: Function that is called with the progress a few times a second.
        on_estimate: Function that is called, before training, with what the search will do. If
            there is one, and the store does not tell the seconds of training, a step is measured.
        clock: Function that returns seconds, by which an effort in time is counted.
        replayed: Plan of an asynchronous search, whose decisions are made again in their order;
            None for a new search.

    Raises:
        PlanError: The plan to replay has no decisions, or the search departs from them.
        BudgetError: No candidate can afford two rounds, or the effort finishes no run.
        ConfigError: There is no such search, or it lacks a library.
        StoppedError: The user interrupted the search, or no worker could test a model; the error
            holds the best plan so far.
        KeyboardInterrupt: The user interrupted the search before a run had finished.
        RecordError: A run cannot be stored.
        DivergedError: Every run diverged.
    """
    request = request.checked()
    check_search(request.search)  # report an unknown name before anything else
    check_async(request, replays=replayed is not None)
    recorded = recorded_decisions(replayed) if replayed else None
    on_progress(Progress("predicting costs"))
    costs = price(request)

    def check(rounds: int) -> None:
        length_of_test(request, rounds)
        make_strategy(
            request, request.search, costs, rounds - reserved_rounds(request, costs, rounds)
        )

    begun = begin_search(
        request,
        costs,
        trainer,
        on_progress,
        on_estimate,
        check,
        partial(stored_start, request, costs, trainer.store),
        clock,
    )
    tested = _tested_rates(request, begun, trainer, on_progress)
    request = with_rates(request, tested)
    passes = SearchPasses(request, costs, trainer, on_progress, begun.allowance, recorded=recorded)
    _offer_async_search(request, trainer, on_progress)
    kept = passes.reserved_rounds(begun.effort.rounds)
    strategy, runs = passes.start(request.search, costs, begun.effort.rounds - kept, kept=kept)
    interrupted = ended_early = False
    try:
        train_search(passes, strategy, runs)
        train_method_leaders(passes, strategy, runs)
        ended_early = train_further_runs(passes, strategy, runs)
        train_further_seeds(passes, runs)
        if request.training_s is not None:
            passes.spend_rest(runs)
    except KeyboardInterrupt:
        runs.stop()
        interrupted = True
    known = runs.known_curves()
    outcomes = options_of(request, runs, known)
    found = with_intervals(known, reached_outcomes(request, runs, known))
    if not outcomes and not found:
        if interrupted:
            raise KeyboardInterrupt
        raise _no_outcome_error(request, runs)
    chosen = partial(_plan, request, costs, runs, known, outcomes, found, begun, ended_early)
    try:
        plan = chosen()
    except UntestedError as error:
        runs.stop()
        interrupted = True
        on_progress(
            Progress(
                "the search ends", warning=f"{error}; what was not tested has no test accuracy"
            )
        )
        plan = chosen()
    plan = replace(_with_times(request, runs, plan), rate_test=tested)
    plan = plan.with_runs(partial(_with_privacy, request))
    if interrupted:
        raise StoppedError(replace(plan, interrupted=True))
    return plan


def _offer_async_search(request: Request, trainer: Trainer, on_progress: OnProgress) -> None:
    """Say what the asynchronous race would gain, where many workers wait in the default search."""
    if request.search == DEFAULT_SEARCH and trainer.workers > MANY_WORKERS:
        offer = async_offer(trainer.workers)
        on_progress(Progress("the search begins", warning=offer))


def _tested_rates(
    request: Request, begun: BegunSearch, trainer: Trainer, on_progress: OnProgress
) -> RateTest | None:
    """Return what learning rates around the task's reach in short runs; None without a test."""
    length = length_of_test(request, begun.effort.rounds)
    if not length:
        return None
    made = RangeTest(request, length, trainer, on_progress, begun.allowance).result()
    if made and made.warning:
        on_progress(Progress("learning rates are tested", warning=made.warning))
    return made


def _no_outcome_error(request: Request, runs: CandidateRuns) -> FlossError:
    """Return the error to raise if no run can be recommended."""
    if runs.finished_candidates():
        return BudgetError(
            "no run finished a round within the budget: real bytes exceed the predicted ones"
        )
    if request.training_s is not None and not runs.all_failed():
        return BudgetError(
            f"{format_duration(request.training_s)} of training finished no run, because this "
            "machine has become slower; the trained rounds are kept: repeat the command"
        )
    if failed := runs.failed_runs():
        return FlossError(
            f"no run finished: {len(failed)} failed on the workers, although they did not "
            f"diverge: {failed[0].reason}"
        )
    return DivergedError("every run diverged; lower the task's learning rates")


def _plan(
    request: Request,
    costs: Costs,
    runs: CandidateRuns,
    known: KnownCurves,
    outcomes: Mapping[Candidate, Outcome],
    found: Mapping[Candidate, Outcome],
    begun: BegunSearch,
    ended_early: bool,
) -> Plan:
    """Choose by validation accuracy, then measure the test accuracy of the reported runs."""
    examples = request.prediction_counts()["validation"]
    reaching = list(found.values())
    choice = choose_cheapest(reaching) if reaching else choose(list(outcomes.values()), examples)
    baselines = request.baselines()
    best = choice.recommendation
    shown = {**outcomes, **found}
    horizons = {c: runs.horizons.rounds(c) for c in costs.searched}
    cap = costs.limit.private_rounds.get(best.cohort, request.max_rounds)
    result = SearchResult(shown, known, horizons, cap)
    reported = {best.candidate, *baselines.values()} & shown.keys()
    hits = runs.hits_on_test([shown[c] for c in sorted(reported)])
    on_test = ReportedOnTest.of(hits, request.task, known.seed_deviation)
    tested = {c: on_test.outcome(shown[c]) for c in reported}
    affords = {c: costs.of[c].horizon for c in costs.searched}
    prior = used_prior(request, runs.asked_history(), affords, runs.finished_candidates())
    cluster = cluster_section(runs)
    decisions = decisions_section(request, runs)
    said = explain(best, runs.records.timed(best.candidate), request.profile, costs.limit, result)
    return Plan(
        request=request.to_json(),
        limit=costs.limit,
        recommendation=tested[best.candidate],
        runners_up=choice.others,
        margin=choice.margin,
        best_accuracy=choice.best_accuracy,
        baselines={n: tested.get(baselines[n]) if n in baselines else None for n in NAMES},
        missing_baselines=missing_baselines(baselines, costs, runs, tested),
        test_differences=on_test.differences(best.candidate, baselines),
        effort={
            "search": request.search,
            "searched": len(costs.searched),
            "unaffordable": len(set(request.candidates)) - len(costs.searched),
            "left_out": dict(costs.left_out),
            "starters": len(runs.asked),
            "grid_rounds": costs.grid_rounds,
            "limit_rounds": begun.limit_rounds(costs, runs.asked_rounds),
            "search_rounds": runs.asked_rounds,
            "seed_rounds": runs.further.rounds,
            "ended_early": ended_early,
            "replicated": len(runs.further.curves),
            "seeds": runs.further.seeds,
            "trained_now_rounds": runs.trained,
            "trained_now_runs": len(runs.trained_runs),
            "runs": len(runs.runs),
            **begun.effort_json(),
            **({"prior": prior.to_json()} if prior else {}),
            **({"cluster": cluster.to_json()} if cluster else {}),
            **({"decisions": decisions.to_json()} if decisions else {}),
        },
        costs=tuple(cost_values(c, costs, runs) for c in costs.searched),
        baseline_costs=baseline_costs(baselines, costs, runs),
        explanation=said.target_part() if reaching else said,
        reached=None if request.objective.target is None else bool(reaching),
        front=_front(runs, known) if request.objective.pareto else (),
        chance=request.chance_accuracy(),
        elsewhere=_elsewhere(request, best, {n: shown.get(c) for n, c in baselines.items()}, runs),
        traffic_alone=request.profile.is_traffic_alone,
        straggler=_straggler(best, costs, runs),
        cheaper=() if reaching else _cheaper(best, runs, known),
        methods=method_results(
            request, costs, runs, known, found or outcomes, choice.margin, by_cost=bool(reaching)
        ),
    )


def _with_times(request: Request, runs: CandidateRuns, plan: Plan) -> Plan:
    """Return a plan whose runs have their times over the fleets that the network may draw."""
    fleets = Fleets.of(request.profile, request.task.partition.clients)
    return with_times(plan, lambda c: Traffic.of(runs.records.timed(c)), fleets)


def _with_privacy(request: Request, outcome: Outcome) -> Outcome:
    """Return an outcome with the epsilon that its rounds spend, if they have privacy."""
    made = request.spent_privacy(outcome.candidate, outcome.rounds)
    return replace(outcome, privacy=SpentPrivacy.of(made)) if made else outcome


def _straggler(best: Outcome, costs: Costs, runs: CandidateRuns) -> StragglerSection | None:
    """Return the client that decides how long the recommended run takes, or None."""
    found = straggler_of(runs.records.timed(best.candidate), best.rounds)
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
        name: Traffic.of(runs.records.timed(outcome.candidate)).until(outcome.rounds)
        for name, outcome in made.items()
    }
    clients = request.task.partition.clients
    return tuple(times_elsewhere(traffic, request.profile, clients))


def _cheaper(best: Outcome, runs: CandidateRuns, known: KnownCurves) -> tuple[CheaperWay, ...]:
    """Return what shares of the recommended run's bytes would reach."""
    return cheaper_ways(best.total_bytes, dict(_measured_runs(runs)), known.intervals_at)


def _measured_runs(runs: CandidateRuns) -> Iterator[tuple[Candidate, MeasuredRun]]:
    """Yield every run that has not diverged, baselines included, as far as the budget goes."""
    for candidate, curve in runs.history().items():
        if not curve.failed and (outcome := runs.outcome(candidate)):
            evaluated = [round_ for round_, _, _ in outcome.curve]
            total_R = runs.records.total_bytes(candidate)
            yield candidate, MeasuredRun(evaluated, [total_R[round_ - 1] for round_ in evaluated])


def _front(runs: CandidateRuns, known: KnownCurves) -> tuple[FrontPoint, ...]:
    cuts = {c: runs.outcome(c) for c in runs.history()}
    curves = {c: outcome.curve for c, outcome in cuts.items() if outcome}
    return front(curves, known.intervals_at)
