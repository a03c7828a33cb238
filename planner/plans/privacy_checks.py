"""Contradictions between the epsilon of a plan's runs and the plan's other figures.

The epsilon follows from clip, noise, cohorts and rounds, which a plan has. It is computed again
where its library is installed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from floss_sim.errors import ConfigError
from planner.plans.plan import Plan
from planner.plans.spent_privacy import SpentPrivacy
from planner.question.limits import MAX_TRANSFERS
from planner.question.privacy import Cohorts, Privacy

_NEAR = 1e-2  # relative difference of an epsilon to that of another version of its library


def privacy_contradictions(plan: Plan) -> Iterator[str]:
    """Yield the epsilons, and the rounds that one allows, that contradict the plan's privacy."""
    asked, clients = plan.privacy, (plan.request.get("fleet") or {}).get("clients", 0)
    if asked is None:
        if plan.limit.private_rounds:
            yield "budget.private_rounds: they need request.privacy"
        for name, (_, _, told) in _spent(plan).items():
            if told is not None:
                yield f"{name}.privacy: it needs request.privacy"
        return
    if clients < max(made.cohort for made in plan.runs.values()):
        yield "request.privacy: it needs request.fleet.clients"
        return
    sizes = {size for size, _, _ in _spent(plan).values()}
    largest = max(sizes | {*plan.limit.private_rounds})
    if largest * plan.request["max_rounds"] > MAX_TRANSFERS:
        yield f"request.max_rounds: {largest} clients of each are more than a plan may have"
        return
    for size, rounds in plan.limit.private_rounds.items():
        yield from _allowed(plan, asked, Cohorts(clients, size, plan.request["seed"]), rounds)
    for name, (size, rounds, told) in _spent(plan).items():
        if told is None:
            yield f"{name}.privacy: it is missing in a plan with request.privacy"
            continue
        if rounds > plan.limit.private_rounds.get(size, rounds):
            yield f"{name}.rounds: {rounds} rounds exceed those of budget.private_rounds"
        cohorts = Cohorts(clients, size, plan.request["seed"])
        yield from _epsilon(f"{name}.privacy", asked, cohorts, rounds, told)


def _spent(plan: Plan) -> dict[str, tuple[int, int, SpentPrivacy | None]]:
    """Return clients of a round, rounds and privacy of each run and answer, by its place."""
    found = {name: (made.cohort, made.rounds, made.privacy) for name, made in plan.runs.items()}
    own = plan.recommendation.cohort
    for i, answer in enumerate(plan.also):
        if answer.candidate is not None:
            size = answer.candidate.cohort_size or own
            found[f"also.{i}"] = (size, answer.rounds, answer.privacy)
    return found


def _allowed(plan: Plan, asked: Privacy, cohorts: Cohorts, rounds: int) -> Iterator[str]:
    """Yield that the rounds of a cohort are not those that the plan's epsilon allows."""
    place, cap = f"budget.private_rounds.{cohorts.size}", plan.request["max_rounds"]
    if not asked.has_limit or rounds >= cap or cohorts.size > cohorts.clients:
        yield f"{place}: they need an epsilon (request.privacy.max_epsilon), and are below the cap"
        return
    try:
        near = {asked.most_rounds(cohorts, cap) + more for more in (-1, 0, 1)}
    except ConfigError:  # the library is not installed
        return
    if rounds not in near:
        yield f"{place}: {rounds} rounds are not those of epsilon {asked.max_epsilon:g}"


def _epsilon(
    place: str, asked: Privacy, cohorts: Cohorts, rounds: int, told: SpentPrivacy
) -> Iterator[str]:
    """Yield that an epsilon is not that of its rounds."""
    if told.delta != asked.settings.delta:
        yield f"{place}.delta: {told.delta:g} differs from request.privacy.delta"
    try:
        made = SpentPrivacy.of(asked.spent(cohorts, rounds))
    except ConfigError:  # the library is not installed
        return
    for name in ("epsilon", "epsilon_of_known_cohorts"):
        given, own = getattr(told, name), getattr(made, name)
        if (given is None) != (own is None) or not math.isclose(
            given or 0.0, own or 0.0, rel_tol=_NEAR, abs_tol=1e-9
        ):
            yield f"{place}.{name}: {given} is not {own}, the epsilon of {rounds} rounds"
