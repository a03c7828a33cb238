"""A race replayed on a recorded grid, and what a plan would recommend after it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "search_benchmark"))

from benchmark import ends, holds, searched_on
from grids import GridWorld

from floss_sim.errors import BudgetError
from planner.candidates import Candidate
from planner.curves import Curve, History
from planner.decisions.further_seeds import next_repeats, rounds_for_seeds
from planner.decisions.recommend import options, rank
from planner.forecasts.forecast import prior_weight
from planner.forecasts.intervals import Interval, KnownCurves
from planner.forecasts.task_prior import TaskPrior
from planner.search import SearchTerms
from planner.search.race import Race
from planner.search.strategy import search


def replay(world: GridWorld, effort: float, prior: TaskPrior | None) -> dict[str, float]:
    """Return the regret of what a plan would recommend, whether its interval holds, and the weight.

    As in a plan, two further seeds of finalists are kept for and trained, and runs that the effort
    ended count if they are clearly ahead. The regret is in points of accuracy.
    """
    whole = SearchTerms(**world.terms(effort))
    kept = rounds_for_seeds(whole.effort, whole.horizons.values())
    terms = world.terms(effort) | {"effort": whole.effort - kept, "prior": prior}
    history = search(Race(**terms), world.extend)
    with suppress(BudgetError):  # what is not kept for seeds finishes no further run
        history = searched_on(Race(**terms), whole, history, world)
    asked, _ = ends(whole, history, world.examples)
    finished = whole.finished_candidates(history)
    asked |= {c: curve.rounds for c, curve in history.items() if c not in finished}
    spent = sum(curve.rounds for curve in history.values())
    known = known_intervals(world, whole, history, asked, finished, spent)
    nbytes = {c: whole.nbytes[c] * asked[c] / whole.horizons[c] for c in known}
    outcomes: Mapping[Candidate, Any] = {
        c: SimpleNamespace(interval=i, expected_accuracy=i.mean, total_bytes=nbytes[c])
        for c, i in known.items()
    }
    done = {c: o for c, o in outcomes.items() if c in finished}
    if not done:  # a plan is refused
        done = outcomes
    among = options(done, {c: o for c, o in outcomes.items() if c not in finished}, ())
    first = rank({c: known[c] for c in among}, nbytes).order[0]
    truth = world.truth(first, asked[first])
    weight = 1.0 if prior is None else prior_weight(history, world.examples, world.longest, prior)
    return {
        "regret": 100 * (world.best - truth),
        "held": float(holds(known[first], truth)),
        "weight": weight,
        "rounds": spent,
    }


def known_intervals(
    world: GridWorld,
    whole: SearchTerms,
    history: History,
    asked: dict[Candidate, int],
    finished: list[Candidate],
    spent: int,
) -> dict[Candidate, Interval]:
    """Return the interval of every run where it ends, after further seeds of the finalists."""
    door = KnownCurves(history, world.examples, world.longest)
    known = door.intervals(asked)
    others: dict[Candidate, list[Curve]] = {}
    while True:
        done = {c: known[c] for c in finished if c in known}
        tried = {c: len(curves) for c, curves in others.items()}
        told = next_repeats(done, tried, asked, whole.effort - spent)
        if not told:
            return known
        for c in told:
            others.setdefault(c, []).append(world.again(1 + tried.get(c, 0)).curve(c, asked[c]))
        spent += sum(asked[c] for c in told)
        known = replace(door, again=others).intervals(asked)
