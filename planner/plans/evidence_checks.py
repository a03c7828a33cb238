"""Contradictions between a plan's runs and its evidence: costs, effort, explanation, answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from planner.candidates import DEFAULTS, Candidate
from planner.forecasts.forecast import Forecast
from planner.forecasts.improvement import expected_improvement
from planner.plans.decision_section import DecisionsSection
from planner.plans.explanation import Explanation, Neighbour, StopRule
from planner.plans.outcome import CLIENT_LIMIT, EFFORT, FALL, PRIVACY, Outcome
from planner.plans.plan import Plan
from planner.question.request import FURTHER_SEEDS

_SAME = 1e-6  # relative difference of equal figures
_TENTH = 1.1  # factor: 10 % more budget
_DOUBT = 2.0  # factor by which the real bytes of single rounds may differ from their mean
# Keys of the request that list the searched values, and the axis of each.
_AXES = {
    "ranks": "rank",
    "down_densities": "down_density",
    "up_densities": "up_density",
    "cohort_size": "cohort_size",
    "epochs": "epochs",
    "values": "values",
    "method": "method",
    "depth": "depth",
    "client_lr": "client_lr",
    "server_lr": "server_lr",
    "options": "options",
}
_TIMES = (
    "download",
    "upload",
    "latency",
    "compute",
    "queueing",
    "framework",
)  # shares that make a round
Costs = Mapping[Candidate, Mapping[str, Any]]


def evidence_contradictions(plan: Plan) -> Iterator[str]:
    """Yield the contradictions between a plan's runs and its evidence."""
    costs = {Candidate.of_settings(cost): cost for cost in plan.costs}
    yield from _costs(plan, costs)
    yield from _effort(plan, costs)
    if plan.explanation:
        yield from _round_time(plan, plan.explanation)
        yield from _neighbours(plan, plan.explanation, costs)
        yield from _more(plan, plan.explanation, costs)
    yield from _answers(plan)
    yield from _better_stored(plan)
    yield from _rate_test(plan)


def outside_space(name: str, candidate: Candidate, request: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values of a candidate that the request did not search."""
    for key, axis in _AXES.items():
        value = getattr(candidate, axis)
        if not value and axis in candidate.idle_axes:
            continue
        searched = request.get(key, [getattr(DEFAULTS, axis)] if "ranks" in request else None)
        if isinstance(searched, list) and value not in searched:
            yield f"{name}.{axis}: {value} is outside the searched space {searched} (request.{key})"


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_SAME, abs_tol=1e-9)


def _searched_runs(plan: Plan) -> dict[str, Outcome]:
    """Return the runs that the search chose among, by their place in the plan."""
    others = {f"runners_up.{i}": made for i, made in enumerate(plan.runners_up)}
    return {"recommendation": plan.recommendation, **others}


def _baselines(plan: Plan) -> list[Outcome]:
    return [made for made in plan.baselines.values() if made]


def _horizon(cost: Mapping[str, Any]) -> int:
    """Return the rounds that a candidate affords, by real bytes where they are known."""
    rounds: int = cost.get("calibrated_rounds", cost["affordable_rounds"])
    return rounds


def _costs(plan: Plan, costs: Costs) -> Iterator[str]:
    """Yield the contradictions between predicted costs and the space, and the runs."""
    if not costs:
        yield "costs: there are none, but every search has predicted some"
    if len(costs) < len(plan.costs):
        yield "costs: a candidate is there twice"
    for i, candidate in enumerate(map(Candidate.of_settings, plan.costs)):
        yield from outside_space(f"costs.{i}", candidate, plan.request)
    trained = {made.candidate for made in _baselines(plan)}
    for name, made in _searched_runs(plan).items():
        if made.candidate in costs:
            yield from _affordable(name, made, costs[made.candidate], plan)
        elif made.candidate not in trained:
            yield f"{name}: {made.candidate} is not among the costs"


def _affordable(name: str, made: Outcome, cost: Mapping[str, Any], plan: Plan) -> Iterator[str]:
    """Yield that a run is longer than predicted, though the prediction pays for its rounds.

    Budgets of bytes or dense rounds are proportional to bytes, so that the predicted ones of the
    run's own rounds are known.
    """
    if not plan.limit.budget.is_sum or plan.request.get("max_client_bytes"):
        return
    messages = made.rounds * made.cohort
    ratios = (
        cost["down_bytes"] * messages / made.down_bytes,
        cost["up_bytes"] * messages / made.up_bytes,
    )
    paid = _DOUBT * max(1.0, *ratios) * made.spent <= 1
    if paid and cost["affordable_rounds"] < made.rounds:
        yield (
            f"{name}.rounds: {made.rounds} rounds take {made.spent:.3g} of the budget, but costs "
            f"say that it affords {cost['affordable_rounds']}"
        )


def _effort(plan: Plan, costs: Costs) -> Iterator[str]:
    """Yield the counts of the search that contradict its costs and its request."""
    effort, request = plan.effort, plan.request
    grid = sum(cost["affordable_rounds"] for cost in costs.values())
    left_out = effort.get("left_out") or {}
    if effort["search"] != request["search"]:
        yield f"effort.search: {effort['search']!r} differs from request.search"
    if effort["searched"] != len(costs):
        yield f"effort.searched: {effort['searched']} differs from the {len(costs)} costs"
    if effort["starters"] > effort["searched"]:
        yield f"effort.starters: {effort['starters']} of {effort['searched']} were begun"
    if "left_out" in effort and effort["unaffordable"] != sum(left_out.values()):
        yield f"effort.unaffordable: {effort['unaffordable']} differs from effort.left_out"
    if effort["grid_rounds"] != grid:
        yield f"effort.grid_rounds: {effort['grid_rounds']} differs from the {grid} of the costs"
    if effort.get("seeds") is not None:
        seed, made = request["seed"], list(effort["seeds"])
        again = len(made) > 1
        if made != list(range(seed, seed + len(made))) or again != bool(effort["replicated"]):
            yield f"effort.seeds: {list(effort['seeds'])} are not those of request.seed {seed}"
    if effort.get("runs") is not None:
        now, rounds = effort["trained_now_runs"], effort["trained_now_rounds"]
        if now > effort["runs"]:
            yield f"effort.trained_now_runs: {now} exceed the {effort['runs']} of effort.runs"
        if now > rounds or bool(now) != bool(rounds):
            yield f"effort.trained_now_rounds: {rounds} cannot be the rounds of {now} runs"
    yield from _limit(effort, request)
    yield from _failed_runs(plan)
    yield from _decisions(plan)
    asked = effort["searched"] + effort["unaffordable"]
    if request.get("candidates") not in (None, asked):
        yield f"request.candidates: {request['candidates']} differs from the {asked} of effort"
    axes = [request[key] for key in _AXES if isinstance(request.get(key), list)]
    if "candidates" in request and asked > math.prod(map(len, axes)):
        yield f"request.candidates: {asked} are more than the searched space holds"


def _failed_runs(plan: Plan) -> Iterator[str]:
    """Yield a failed run that the plan has not asked for."""
    seed = plan.request["seed"]
    for number, run in enumerate((plan.effort.get("cluster") or {}).get("failed", ())):
        name = f"effort.cluster.failed.{number}"
        known = plan.cost(Candidate.of_settings(run["candidate"]))
        if known is None:
            yield f"{name}.candidate: there are no costs of it"
        if not seed <= run["seed"] <= seed + FURTHER_SEEDS:
            yield f"{name}.seed: {run['seed']} is none of the seeds of the plan"


def _decisions(plan: Plan) -> Iterator[str]:
    """Yield the decisions of an asynchronous search that contradict each other or the plan."""
    effort, told = plan.effort, plan.effort.get("decisions")
    if told is None:
        return
    made = DecisionsSection.model_validate(told)
    if effort["search"] != "async-race":
        yield f"effort.decisions: a search by {effort['search']} has none"
    yield from (f"effort.decisions.{said}" for said in made.contradictions())
    last = {step.candidate: step.rounds for step in made.steps}
    for candidate in last:
        if plan.cost(candidate) is None:
            yield f"effort.decisions: there are no costs of {candidate}"
    rounds, asked = sum(last.values()), effort["search_rounds"] - (effort.get("seed_rounds") or 0)
    if plan.interrupted:
        return
    if rounds > asked:
        yield f"effort.decisions: their {rounds} rounds exceed the {asked} of effort.search_rounds"
    if any(step.answered is None for step in made.steps):
        yield "effort.decisions: a step was not answered, but the search was not interrupted"
    if len(last) != effort["starters"]:
        yield f"effort.decisions: {len(last)} candidates, but effort.starters is otherwise"


def _limit(effort: Mapping[str, Any], request: Mapping[str, Any]) -> Iterator[str]:
    """Yield the rounds of the search that exceed its limit, and a limit that is not the effort."""
    most, fraction = effort["grid_rounds"], request.get("effort")
    if (effort.get("seed_rounds") or 0) > effort["search_rounds"]:
        yield f"effort.seed_rounds: {effort['seed_rounds']} exceed effort.search_rounds"
    if effort["search_rounds"] > effort["limit_rounds"]:
        yield f"effort.search_rounds: {effort['search_rounds']} exceed effort.limit_rounds"
    if effort["limit_rounds"] > most:
        yield f"effort.limit_rounds: {effort['limit_rounds']} exceed effort.grid_rounds, {most}"
    if (effort.get("planned_rounds") or 0) > effort["limit_rounds"]:
        yield f"effort.planned_rounds: {effort['planned_rounds']} exceed effort.limit_rounds"
    if effort.get("training_s") != request.get("training_s"):
        yield f"effort.training_s: {effort.get('training_s')} differs from request.training_s"
    if fraction is None or request.get("training_s") is not None:
        return
    if effort["limit_rounds"] != int(fraction * most):
        yield (
            f"effort.limit_rounds: {effort['limit_rounds']} is not {fraction:g} of the {most} "
            "rounds of effort.grid_rounds (request.effort)"
        )


def _rate_test(plan: Plan) -> Iterator[str]:
    """Yield what the test of learning rates says that contradicts the request."""
    test, request = plan.rate_test, plan.request
    if bool(test and test.tuned) != bool(test and test.better and request.get("tune_lr")):
        yield "rate_test.tuned: a plan has the better rates if request.tune_lr asks for them"
    if test is None:
        return
    if request.get("lr_test") is False:
        yield "rate_test: request.lr_test says that there was no test"
    if test.rank != request["reference_rank"]:
        yield f"rate_test.rank: {test.rank} differs from request.reference_rank"
    if test.examples != request["judged"]["validation"]:
        yield f"rate_test.examples: {test.examples} differs from request.judged.validation"
    if test.rounds > request["max_rounds"]:
        yield f"rate_test.rounds: {test.rounds} exceed request.max_rounds"
    changes = (request.get("origin") or {}).get("changes", {})
    if test.tuned and test.better and changes:
        rates = changes.get("client.learning_rate"), changes.get("server.learning_rate")
        if rates != (test.better.client_lr, test.better.server_lr):
            yield "rate_test.better: its rates differ from those of request.origin.changes"


def _round_time(plan: Plan, said: Explanation) -> Iterator[str]:
    """Yield the times and shares that are not those of the recommended run."""
    made, budget, time = plan.recommendation, plan.limit.budget, said.time
    whole = sum(getattr(time, name) for name in _TIMES)
    if not _same(whole, 1) and (time.round_s or whole):
        yield f"explanation.time: its shares {', '.join(_TIMES)} add up to {whole:.6g}, not 1"
    if not _same(time.round_s * made.rounds, made.own_fleet_s):
        yield (
            f"recommendation.own_fleet_s: {made.own_fleet_s:g} differs from {made.rounds} rounds "
            f"of {time.round_s:g} s (explanation.time.round_s)"
        )
    uploads = said.spent_on_uploads
    if (uploads is None) == budget.is_sum:
        yield "explanation.spent_on_uploads: belongs to a budget that is a sum over messages"
    elif uploads is not None and budget.kind != "dense-rounds":
        share = made.up_bytes / made.total_bytes
        if not _same(uploads, share):
            yield f"explanation.spent_on_uploads: {uploads:g} differs from {share:g} by the bytes"


def _neighbours(plan: Plan, said: Explanation, costs: Costs) -> Iterator[str]:
    """Yield the neighbours that contradict their costs or their runs."""
    runs = {made.candidate: made for made in _searched_runs(plan).values()}
    for i, one in enumerate(said.neighbours):
        name, best = f"explanation.neighbours.{i}", plan.recommendation.candidate
        value = getattr(one.candidate, one.axis)
        if one.candidate == best or one.candidate != replace(best, **{one.axis: value}):
            yield f"{name}.axis: the candidate does not differ in {one.axis} alone"
        elif one.candidate not in costs:
            yield f"{name}.candidate: {one.candidate} is not among the costs"
        else:
            yield from _neighbour(name, one, runs.get(one.candidate), costs[one.candidate])


def _neighbour(
    name: str, one: Neighbour, made: Outcome | None, cost: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what contradicts a neighbour's run, or its cost if it has no finished run."""
    if (made is None) == (one.kind == "measured"):
        there = "is not" if made is None else "is"
        yield f"{name}.kind: {one.kind!r}, but the candidate {there} among the runners-up"
        return
    rounds, accuracy = (made.rounds, made.expected_accuracy) if made else (_horizon(cost), None)
    if one.interval:
        accuracy = one.interval.mean
    if one.rounds != rounds:
        yield f"{name}.rounds: {one.rounds} differs from {rounds}"
    if one.accuracy is not None and accuracy is not None and not _same(one.accuracy, accuracy):
        yield f"{name}.accuracy: {one.accuracy:g} differs from {accuracy:g}"


def _more(plan: Plan, said: Explanation, costs: Costs) -> Iterator[str]:
    """Yield what more budget or more search cannot give."""
    made, more, stop = plan.recommendation, said.tenth, said.stop
    if more:
        most = made.rounds_within(_TENTH)
        if not made.rounds <= more.rounds <= most:
            yield f"explanation.tenth.rounds: {more.rounds} is not within {made.rounds} to {most}"
        if (more.rounds == made.rounds) != (more.accuracy is None):
            yield "explanation.tenth.accuracy: belongs to a tenth that affords further rounds"
        if more.accuracy and made.binds in (CLIENT_LIMIT, PRIVACY, FALL, EFFORT):
            yield f"explanation.tenth.accuracy: the {made.binds} leaves no further round"
    if stop is None:
        return
    runs = [*_searched_runs(plan).values(), *_baselines(plan)]
    finished = {run.candidate for run in runs if run.binds != EFFORT}
    if stop.candidate not in costs or stop.candidate in finished:
        yield f"explanation.stop.candidate: {stop.candidate} is no unfinished one of the costs"
    elif stop.rounds > _horizon(costs[stop.candidate]):
        yield f"explanation.stop.rounds: {stop.rounds} exceed what the budget affords"
    best = max(run.expected_accuracy for run in runs)
    yield from _gain(said, stop, best)
    if stop.all_rounds is not None and stop.all_rounds < stop.rounds:
        yield f"explanation.stop.all_rounds: {stop.all_rounds} are fewer than one candidate lacks"
    if stop.all_gain is not None and stop.all_gain < stop.gain * (1 - _SAME):
        yield f"explanation.stop.all_gain: {stop.all_gain:g} is below that of one candidate"
    examples = plan.request["judged"]["validation"]
    noise = max(math.sqrt(best * (1 - best) / examples), 1 / examples)
    if not _same(stop.noise, noise):
        yield f"explanation.stop.noise: {stop.noise:g} differs from {noise:g}"


def _gain(said: Explanation, stop: StopRule, best: float) -> Iterator[str]:
    """Yield that a gain is not that of its forecast over the best accuracy, 0 to 1."""
    mean, sd = stop.forecast_mean, stop.forecast_sd
    if mean is None or sd is None:
        return
    gain = expected_improvement(Forecast(mean, sd), best)
    if not math.isclose(stop.gain, gain, rel_tol=_SAME, abs_tol=1e-12):
        yield f"explanation.stop.gain: {stop.gain:g} differs from {gain:g} by its forecast"
    for one in said.neighbours:
        same = one.candidate == stop.candidate and one.accuracy is not None
        if same and one.kind == "forecast" and not _same(one.accuracy or 0.0, mean):
            yield f"explanation.stop.forecast_mean: {mean:g} differs from that of the neighbour"


def _answers(plan: Plan) -> Iterator[str]:
    """Yield the answers whose own figures contradict each other."""
    for i, answer in enumerate(plan.also):
        if answer.rounds > answer.affords:
            yield f"also.{i}.rounds: {answer.rounds} exceed also.{i}.affords, {answer.affords}"
        if answer.measured > answer.searched:
            yield f"also.{i}.measured: {answer.measured} exceed also.{i}.searched"
        if answer.interval and not _same(answer.accuracy or 0.0, answer.interval.mean):
            yield f"also.{i}.accuracy: {answer.accuracy:g} is not the mean of its interval"


def _better_stored(plan: Plan) -> Iterator[str]:
    """Yield that a better stored run is of another question, is not better, or costs otherwise."""
    found, made, budget = plan.better_stored, plan.recommendation, plan.limit.budget
    if found is None:
        return
    trained = {one.candidate for one in plan.baselines.values() if one}
    if found.candidate not in trained:
        yield from outside_space("better_stored.candidate", found.candidate, plan.request)
    if not _same(found.accuracy, found.interval.mean):
        yield f"better_stored.accuracy: {found.accuracy:g} is not the mean of its interval"
    if plan.reached or (made.interval and found.interval.low <= made.interval.high):
        yield "better_stored.interval: it is not above that of the recommended run"
    cohort = found.candidate.cohort_size or made.cohort
    whole = {"bytes": 1, "client-bytes": cohort}.get(budget.kind)
    if whole and not _same(found.budget_spent * plan.limit.amount * whole, found.total_bytes):
        yield f"better_stored.budget_spent: {found.budget_spent:g} is not the share of its bytes"
