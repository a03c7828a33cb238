"""Contradictions between the figures of a plan, such as more rounds than the plan's own cap."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from floss_sim.analysis.time_spread import fleet_quantile
from planner.candidates import Candidate
from planner.forecasts.smoothing import smoothed_accuracy
from planner.plans.comparison_checks import comparison_contradictions
from planner.plans.document_checks import same
from planner.plans.evidence_checks import evidence_contradictions, outside_space
from planner.plans.method_checks import method_contradictions
from planner.plans.outcome import CLIENT_LIMIT, EFFORT, FALL, PRIVACY, Outcome
from planner.plans.plan import Plan
from planner.plans.privacy_checks import privacy_contradictions
from planner.plans.usage_checks import answer_contradictions, usage_contradictions
from planner.question.limits import MAX_ROUNDS
from planner.question.objective import FrontPoint

# Valid values of ``Outcome.binds``.
BINDS = ("budget", CLIENT_LIMIT, PRIVACY, "round cap", FALL, EFFORT, "target")
_SAME = 1e-9  # relative difference of equal figures
_NEAR = 1e-6  # relative difference of figures that are computed in different ways
_EVAL_EVERY = 10  # most rounds between two evaluations


def first_contradiction(plan: Plan) -> str:
    """Return the first contradiction between a plan's figures in words; empty if there is none."""
    named = {"recommendation": plan.recommendation}
    named |= {f"runners_up.{i}": outcome for i, outcome in enumerate(plan.runners_up)}
    trained = {f"baselines.{name}": made for name, made in plan.baselines.items() if made}
    checks = (
        _rounds(plan),
        privacy_contradictions(plan),
        (said for pair in {**named, **trained}.items() for said in _outcome(*pair)),
        _budget(plan),
        (said for pair in {**named, **trained}.items() for said in _spending(plan, *pair)),
        (
            said
            for pair in {**named, **trained}.items()
            for said in usage_contradictions(plan, *pair)
        ),
        answer_contradictions(plan),
        _binds(plan, {**named, **trained}),
        _one_curve(named, trained),
        _space(plan, named),
        _choice(plan),
        _target(plan),
        _front(plan, [*named.values(), *trained.values()]),
        _times(plan, {**named, **trained}),
        _straggler(plan),
        _request(plan),
        _prior(plan),
        evidence_contradictions(plan),
        comparison_contradictions(plan),
        method_contradictions(plan),
    )
    return next((said for check in checks for said in check), "")


def _near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_NEAR, abs_tol=1e-12)


def _prior(plan: Plan) -> Iterator[str]:
    """Yield that a prior over tasks belongs to races alone, and favours what was searched."""
    if not (prior := plan.effort.get("prior")):
        return
    if plan.effort["search"] not in ("race", "async-race"):
        yield f"effort.prior: a search by {plan.effort['search']} uses none"
    cost = plan.cost(Candidate.of_settings(prior["favourite"]))
    if cost is None or cost["affordable_rounds"] != prior["favourite_rounds"]:
        yield "effort.prior.favourite_rounds: the costs say otherwise"


def _rounds(plan: Plan) -> Iterator[str]:
    """Yield the numbers of rounds that exceed the plan's cap, and a cap that is too large."""
    cap = plan.request["max_rounds"]
    if cap > MAX_ROUNDS:
        yield f"request.max_rounds: {cap} rounds are more than a plan may have, {MAX_ROUNDS}"
    named: dict[str, int] = {"recommendation.rounds": plan.recommendation.rounds}
    named |= {f"runners_up.{i}.rounds": made.rounds for i, made in enumerate(plan.runners_up)}
    named |= {f"baselines.{n}.rounds": made.rounds for n, made in plan.baselines.items() if made}
    named |= {f"front.{i}.rounds": point.rounds for i, point in enumerate(plan.front)}
    named |= {f"cheaper.{i}.rounds": way.rounds for i, way in enumerate(plan.cheaper)}
    named |= {
        f"costs.{i}.affordable_rounds": c["affordable_rounds"] for i, c in enumerate(plan.costs)
    }
    if plan.better_stored:
        named["better_stored.rounds"] = plan.better_stored.rounds
    for i, answer in enumerate(plan.also):
        named |= {f"also.{i}.rounds": answer.rounds, f"also.{i}.affords": answer.affords}
    if plan.explanation:
        near = plan.explanation.neighbours
        named |= {f"explanation.neighbours.{i}.rounds": one.rounds for i, one in enumerate(near)}
        named |= (
            {"explanation.tenth.rounds": plan.explanation.tenth.rounds}
            if plan.explanation.tenth
            else {}
        )
        named |= (
            {"explanation.stop.rounds": plan.explanation.stop.rounds}
            if plan.explanation.stop
            else {}
        )
    for name, rounds in named.items():
        if rounds > cap:
            yield f"{name}: {rounds} rounds exceed the cap of {cap} (request.max_rounds)"


def _outcome(name: str, made: Outcome) -> Iterator[str]:
    """Yield the contradictions within one run."""
    measured = [number for number, _, _ in made.curve]
    if made.rounds not in measured:
        yield f"{name}.rounds: round {made.rounds} is none of the measured ones in {name}.curve"
        return
    if measured != sorted(set(measured)) or measured[-1] != made.rounds:
        yield f"{name}.curve: its rounds must ascend to {made.rounds}, the last one of the run"
    shares = [share for _, share, _ in made.curve]
    if shares != sorted(shares):
        yield f"{name}.curve: the share of the budget must not fall from round to round"
    if not same(made.curve[-1][1], made.spent):
        yield f"{name}.budget_spent: {made.spent:g} differs from {shares[-1]:g} in the curve"
    if not same(made.curve[-1][2], made.accuracy):
        yield (
            f"{name}.last_evaluation.accuracy: {made.accuracy:g} differs from "
            f"{made.curve[-1][2]:g} in the curve"
        )
    if made.spent > 1 + _SAME or made.most > 1 + _SAME:
        yield f"{name}.budget_spent: a run spends at most the whole budget"
    if made.most * made.rounds < made.spent * (1 - 1e-6):
        yield (
            f"{name}.largest_round: {made.rounds} rounds of at most {made.most:g} do not spend "
            f"{made.spent:g} of the budget"
        )
    if made.binds not in BINDS:
        yield f"{name}.binds: {made.binds!r} is unknown; valid: {', '.join(BINDS)}"
    if made.candidate.cohort_size not in (0, made.cohort):
        yield f"{name}.cohort: {made.cohort} differs from cohort_size {made.candidate.cohort_size}"
    if made.interval and not made.interval.low <= made.interval.mean <= made.interval.high:
        yield f"{name}.interval: low, mean and high must ascend"


def _times(plan: Plan, runs: Mapping[str, Outcome]) -> Iterator[str]:
    """Yield a run whose recorded seconds are not those of the network's own fleet."""
    for name, made in runs.items():
        exact = made.time and made.time.method != "probed"
        if made.time and exact and not _near(made.time.seconds[0], made.own_fleet_s):
            yield (
                f"{name}.own_fleet_s: {made.own_fleet_s:g} differs from {made.time.seconds[0]:g}, "
                f"the time of the first fleet ({name}.time.seconds)"
            )


def _straggler(plan: Plan) -> Iterator[str]:
    """Yield the figures of a straggler and of slow fleets that are not those of the plan's run."""
    found, made = plan.straggler, plan.recommendation
    if slow := plan.slow_fleets:
        draws = made.time.draws if made.time else 1
        if not slow.fleets <= slow.draws == draws:
            yield f"slow_fleets.fleets: {slow.fleets} of {slow.draws}, but {draws} were drawn"
    if found is None:
        return
    if (found.all_rounds, found.cohort) != (made.rounds, made.cohort):
        yield f"straggler.all_rounds: the plan has {made.rounds} rounds of {made.cohort} clients"
    if not _near(found.run_s, made.own_fleet_s):
        yield f"straggler.run_s: {found.run_s:g} differs from {made.own_fleet_s:g} of the plan"
    shorter = found.run_without_s <= found.run_s and found.round_without_s <= found.round_s
    if found.rounds > found.all_rounds or not shorter:
        yield "straggler.run_without_s: a run without a straggler takes no longer"
    deadline = (found.deadline_s, found.deadline_run_s, found.deadline_lost)
    if 0 < deadline.count(None) < len(deadline):
        yield "straggler.deadline_s: its time and its losses belong together; give all or none"


def _spending(plan: Plan, name: str, made: Outcome) -> Iterator[str]:
    """Yield that a run's bytes, seconds or largest round are not what it spent."""
    budget, spent = plan.limit.budget, made.spent * plan.limit.amount
    totals = {"bytes": made.total_bytes, "client-bytes": made.total_bytes / made.cohort}
    if made.time and made.time.method != "probed":
        totals["seconds"] = float(fleet_quantile(made.time.seconds, budget.confidence))
    total = totals.get(budget.kind, spent)
    if not math.isclose(total, spent, rel_tol=_NEAR):
        yield f"{name}.budget_spent: {made.spent:g} is not the share of {total:g} in the budget"
    if plan.request.get("max_client_bytes") or plan.limit.private_rounds:
        return  # which largest_round may be a share of
    if made.most > made.spent * (1 + _NEAR):
        yield f"{name}.largest_round: {made.most:g} exceeds the {made.spent:g} of the whole run"
    points = [(0, 0.0), *((number, share) for number, share, _ in made.curve)]
    for (before, spent_before), (number, share) in pairwise(points):
        if share - spent_before > (number - before) * made.most * (1 + _NEAR):
            yield f"{name}.curve: rounds up to {number} spend more than largest_round each"


def _binds(plan: Plan, runs: Mapping[str, Outcome]) -> Iterator[str]:
    """Yield a limit that cannot have ended its run."""
    cap = plan.request["max_rounds"]
    ends = {made.rounds for made in runs.values() if made.binds == "round cap"}
    last = min(ends, default=cap)  # the last evaluated round within the cap
    if len(ends) > 1 or last <= cap - _EVAL_EVERY:
        yield f"binds: the cap of {cap} rounds cannot end runs after {sorted(ends)}"
    for name, made in runs.items():
        if made.binds in ("budget", CLIENT_LIMIT, PRIVACY, FALL, EFFORT) and made.rounds >= last:
            yield f"{name}.binds: {made.binds!r}, but the run ends at the cap on rounds"
        if made.binds == CLIENT_LIMIT and not plan.request.get("max_client_bytes"):
            yield f"{name}.binds: {CLIENT_LIMIT!r} needs request.max_client_bytes"
        if made.binds == PRIVACY and made.cohort not in plan.limit.private_rounds:
            yield f"{name}.binds: {PRIVACY!r} needs budget.private_rounds of {made.cohort} clients"
        if made.binds == FALL:
            yield from _fall(name, made)
        if made.binds == "target" and plan.target is None:
            yield f"{name}.binds: 'target' belongs to a plan with a target (request.objective)"


def _fall(name: str, made: Outcome) -> Iterator[str]:
    """Yield that a run does not end where its smoothed accuracy was highest, with budget left."""
    evaluated, _, accuracies = zip(*made.curve, strict=True)
    smoothed = {r: smoothed_accuracy(evaluated, accuracies, r) for r in evaluated}
    peak = max(smoothed, key=lambda r: smoothed[r])
    if peak != made.rounds:
        yield f"{name}.binds: {FALL!r}, but the smoothed accuracy is highest after round {peak}"
    if made.spent >= 1:
        yield f"{name}.binds: {FALL!r}, but the budget affords no later round that could be worse"


def _one_curve(named: Mapping[str, Outcome], trained: Mapping[str, Outcome]) -> Iterator[str]:
    """Yield a baseline whose curve differs from that of the same candidate in the search."""
    searched = {made.candidate: (name, made) for name, made in named.items()}
    for name, made in trained.items():
        other_name, other = searched.get(made.candidate, (name, made))
        pairs = zip(made.curve, other.curve, strict=False)
        if any(not all(map(same, one, two)) for one, two in pairs):
            yield f"{name}.curve: it differs from that of the same run in {other_name}"


def _space(plan: Plan, named: Mapping[str, Outcome]) -> Iterator[str]:
    """Yield the values of candidates that the request did not search."""
    trained = [made.candidate for made in plan.baselines.values() if made]
    for name, made in named.items():
        if made.candidate in trained:
            continue  # a baseline, which need not be searched
        yield from outside_space(name, made.candidate, plan.request)
    for name, densities in (("dense", (1.0, 1.0)), ("thesis_rule", (0.25, None))):
        made_baseline = plan.baselines.get(name)
        if made_baseline and not _is_baseline(made_baseline.candidate, plan, densities):
            yield f"baselines.{name}: {made_baseline.candidate} is not this baseline"


def _is_baseline(candidate: Candidate, plan: Plan, densities: tuple[float, float | None]) -> bool:
    down, up = densities
    same = candidate.rank == plan.request["reference_rank"] and candidate.down_density == down
    return same and up in (None, candidate.up_density)


def _choice(plan: Plan) -> Iterator[str]:
    """Yield the contradictions between the recommendation and the other runs."""
    runs = [plan.recommendation, *plan.runners_up]
    if len({made.candidate for made in runs}) < len(runs):
        yield "runners_up: a candidate is there twice"
    best = max(made.expected_accuracy for made in runs)
    if not same(plan.best_accuracy, best):
        yield f"best_accuracy: {plan.best_accuracy:g} differs from the best run's {best:g}"
    if plan.target is None and not plan.ties(plan.recommendation):
        yield (
            f"recommendation: its accuracy of {plan.recommendation.expected_accuracy:g} is not "
            f"within tie_margin {plan.margin:g} of the best {plan.best_accuracy:g}"
        )
    keys = [-made.expected_accuracy for made in plan.runners_up]
    if plan.target is not None and plan.reached:
        keys = [made.spent for made in plan.runners_up]
    if keys != sorted(keys):
        yield "runners_up: they must be ordered by accuracy, with a target by cost"


def _target(plan: Plan) -> Iterator[str]:
    """Yield the contradictions between a target and the runs that reached it."""
    if (plan.reached is None) != (plan.target is None):
        yield "reached: belongs to a plan with a target (request.objective)"
    if not plan.reached or plan.target is None:
        return
    if any(made.binds != "target" for made in (plan.recommendation, *plan.runners_up)):
        yield "reached: every run of a plan that reached its target ends there (binds)"
    accuracy = plan.recommendation.expected_accuracy
    if accuracy < plan.target * (1 - _NEAR):
        yield f"reached: the run's accuracy {accuracy:g} is below the target {plan.target:g}"


def _front(plan: Plan, runs: Iterable[Outcome]) -> Iterator[str]:
    """Yield the points of the front that contradict their order or their runs."""
    objective = plan.request.get("objective") or {}
    if plan.front and objective.get("kind") != "pareto":
        yield "front: belongs to a plan with the objective 'pareto' (request.objective)"
    for (i, one), other in zip(enumerate(plan.front), plan.front[1:], strict=False):
        if other.spent < one.spent or other.accuracy <= one.accuracy:
            yield f"front.{i + 1}: its cost and accuracy must exceed those of the point before"
    made = {outcome.candidate: outcome for outcome in runs}
    for i, point in enumerate(plan.front):
        yield from _point(f"front.{i}", point, made.get(point.candidate))


def _point(name: str, point: FrontPoint, made: Outcome | None) -> Iterator[str]:
    """Yield that a point contradicts its interval, or its run if the plan has it."""
    if not point.low <= point.accuracy <= point.high:
        yield f"{name}.interval: it must hold the accuracy {point.accuracy:g}"
    if made is None:
        return
    shares = {number: share for number, share, _ in made.curve}
    if point.rounds not in shares:
        yield f"{name}.rounds: round {point.rounds} is none of the measured ones"
    elif not same(shares[point.rounds], point.spent):
        yield f"{name}.budget_spent: its run has spent {shares[point.rounds]:g} by this round"
    elif point.rounds == made.rounds and made.interval and not _is_same_interval(point, made):
        yield f"{name}.interval: it differs from that of the same run in the plan"


def _is_same_interval(point: FrontPoint, made: Outcome) -> bool:
    """Return whether a point's interval is that of a run which ends there."""
    told = made.interval
    return told is None or all(
        same(*ends)
        for ends in (
            (point.low, told.low), (point.accuracy, told.mean), (point.high, told.high)
        )
    )  # fmt: skip


def _budget(plan: Plan) -> Iterator[str]:
    """Yield an amount that is not that of the budget's text, where the text tells it."""
    budget, amount = plan.limit.budget, plan.limit.amount
    if budget.kind == "dense-rounds" or (budget.kind == "battery" and budget.battery_j is None):
        return
    told = budget.amount * (budget.battery_j or 1)
    if not same(told, amount):
        yield f"budget.amount: {amount:g} differs from {budget.text!r}, which is {told:g}"


def _request(plan: Plan) -> Iterator[str]:
    """Yield what the request says of its task and network that contradicts their origin."""
    request, judged = plan.request, plan.request["judged"]
    for split in ("validation", "test"):
        examples = request.get(f"{split}_examples", judged[split])
        if judged["what"] == "examples" and examples != judged[split]:
            yield f"request.{split}_examples: {examples} differs from request.judged.{split}"
    fleet, origin = request.get("fleet"), request.get("origin")
    if fleet and fleet["clients"] < plan.recommendation.cohort:
        yield f"request.fleet.clients: {fleet['clients']} are fewer than a cohort"
    if not origin:
        return
    loaded = {"task": origin["changes"].get("name", origin["task"]), "network": origin["network"]}
    for key, name in loaded.items():  # a name in a file may have changed, which changes no figure
        if not origin[key].endswith(".toml") and request[key].split(", ")[0] != name:
            yield f"request.{key}: {request[key]!r} differs from {name!r} (request.origin)"
