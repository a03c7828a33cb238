"""Answers for other budgets and networks, from stored curves without training.

A plan uses only the rounds that its own search asked for, so that it does not depend on the other
contents of the store. An answer uses every stored curve of the task and seed, whichever search
trained it, so that answers improve as the store grows. Both take accuracies from
:class:`planner.forecasts.intervals.KnownCurves`: where the store holds the curves of one search
alone, its plan and an answer give the same run the same interval. If nothing of the task is stored,
an answer is forecast from other tasks (:mod:`planner.forecasts.task_prior`), and says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.traffic import Traffic
from floss_sim.errors import BudgetError
from floss_sim.fingerprints import fingerprint
from floss_sim.methods import WAYS
from floss_sim.network import NetworkProfile, load_profile
from planner.candidates import Candidate
from planner.decisions.stored_choice import best_early_stop, best_stored_candidate
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.execution.stored_curves import StoredCurves
from planner.forecasts.falls import peak_round
from planner.forecasts.intervals import LEVEL, Interval
from planner.plans.answer import Answer
from planner.plans.explanation import Range
from planner.plans.plan import beats_chance
from planner.plans.spent_privacy import SpentPrivacy
from planner.plans.time_section import TimeSection
from planner.plans.usage_section import UsageSection
from planner.question.budget import Budget, Limit, parse_budget
from planner.question.cost import price, resolve_limit
from planner.question.request import Request

MAX_CELLS = 50  # of one question; each takes some hundredths of a second
TELLING_ROUNDS = 5  # rounds; fewer do not predict the bytes of later rounds


@dataclass(frozen=True)
class BudgetOnNetwork:
    """Cell of a table of answers: a budget on a network."""

    profile: NetworkProfile
    budget: Budget


def parse_cells(text: str, profile: NetworkProfile) -> tuple[BudgetOnNetwork, ...]:
    """Return the cells of a text such as ``"10-dense-rounds,2GB,lte:1h"``.

    Args:
        text: Budgets separated by commas, each optionally preceded by a network and a colon.
        profile: Network of the budgets without one.

    Raises:
        BudgetError: The text holds no budget, one that cannot be read, or more than ``MAX_CELLS``.
        ProfileError: A network cannot be loaded.
    """
    cells = []
    items = [part.strip() for part in text.split(",") if part.strip()]
    if len(items) > MAX_CELLS:
        raise BudgetError(f"{len(items)} cells to answer; valid: at most {MAX_CELLS}")
    for item in items:
        name, _, budget = item.rpartition(":")
        cells.append(BudgetOnNetwork(load_profile(name) if name else profile, parse_budget(budget)))
    if not cells:
        raise BudgetError(f"{text!r} names no budget; valid: 10-dense-rounds,2GB,lte:1h")
    return tuple(cells)


@dataclass(frozen=True)
class NetworkView:
    """Stored curves on one network: predicted traffic of candidates, recorded traffic of runs.

    Attributes:
        stored: The stored curves.
        profile: The network.
        cells: Number of answers, which share what may be simulated to time them.
    """

    stored: StoredCurves
    profile: NetworkProfile
    cells: int = 1

    @cached_property
    def predicted_traffic(self) -> dict[Candidate, Traffic]:
        """Messages of the runs of candidates and stored baselines, with predicted sizes."""
        request, first_bytes = self.stored.request, self.profile.first_download
        return {
            c: Traffic.predict(request.config(c), request.max_rounds, first_bytes)
            for c in sorted({*request.candidates, *self.stored.records})
        }

    @cached_property
    def stored_traffic(self) -> dict[Candidate, Traffic]:
        """Messages of every stored run, with this network's first download."""
        first_bytes = self.profile.first_download
        return {c: self.stored.traffic(c, first_bytes) for c in self.stored.records}

    @cached_property
    def fleets(self) -> Fleets:
        """The fleets that the network may draw."""
        clients = self.stored.request.task.partition.clients
        return Fleets.of(self.profile, clients).sharing(self.cells)

    def answer(self, budget: Budget) -> Answer:
        """Return the answer for a budget on this network.

        Raises:
            BudgetError: No candidate keeps to the limits, by predicted and by recorded sizes.
        """
        limit = self._limit(budget)
        horizons = _horizons(self, limit, self.stored.request.max_rounds)
        affordable = self._within_limits(horizons, limit)
        if not affordable:
            self.check(budget)
        return self._with_costs(_cell_answer(self, limit, affordable), limit)

    def check(self, budget: Budget) -> None:
        """Check by predicted sizes that a budget affords a candidate a round.

        Raises:
            BudgetError: It affords none, or the network does not state what the budget limits.
        """
        limit = self._limit(budget)
        horizons = ((c, limit.rounds(traffic)) for c, traffic in self.predicted_traffic.items())
        if not self._within_limits(horizons, limit):
            price(replace(self.stored.request, budget=budget, profile=self.profile))  # says why

    def _limit(self, budget: Budget) -> Limit:
        request = replace(self.stored.request, budget=budget, profile=self.profile)
        return resolve_limit(request).sharing(len(self.predicted_traffic))

    def _within_limits(
        self, horizons: Iterable[tuple[Candidate, int]], limit: Limit
    ) -> dict[Candidate, int]:
        """Return the last evaluated rounds of candidates that afford one and are quick enough."""
        affordable = {c: last_evaluated_round(n) for c, n in horizons if n}
        if self.stored.request.max_round_s == math.inf:
            return affordable
        return {c: n for c, n in affordable.items() if self._is_quick(c, n, limit)}

    def _with_costs(self, told: Answer, limit: Limit) -> Answer:
        """Return an answer with the time of its rounds over fleets, and with what they take."""
        if told.candidate is None:
            return told
        measured = told.kind == "measured"
        traffic = (self.stored_traffic if measured else self.predicted_traffic)[told.candidate]
        time = TimeSection.of(self.fleets.spread(traffic, told.rounds))
        usage = UsageSection.of(traffic.until(told.rounds), limit)
        made = self.stored.request.spent_privacy(told.candidate, told.rounds)
        privacy = SpentPrivacy.of(made) if made else None
        return told.model_copy(update={"time": time, "usage": usage, "privacy": privacy})

    def _is_quick(self, candidate: Candidate, rounds: int, limit: Limit) -> bool:
        """Return whether the mean of a run's predicted rounds is within ``max_round_s``."""
        closing_R = limit.closing_times(self.predicted_traffic[candidate])
        return bool(closing_R[rounds - 1] <= self.stored.request.max_round_s * rounds)


def answer_all(
    request: Request, cells: Sequence[BudgetOnNetwork], store: CurveStore
) -> tuple[Answer, ...]:
    """Return the answer of each cell, from all stored curves of the request's task and seed.

    Args:
        request: Gives task, seed and the candidates to choose from.
        cells: Budgets and their networks.
        store: Store of the curves; it is not changed.

    Raises:
        BudgetError: In a cell no candidate keeps to the limits, by predicted and recorded sizes.
    """
    views = _views(StoredCurves.of(request, store), cells)
    return tuple(views[_mark(cell)].answer(cell.budget) for cell in cells)


def check_cells(request: Request, cells: Sequence[BudgetOnNetwork]) -> None:
    """Check by predicted sizes that each cell affords a candidate a round.

    Cells that pass have an answer, known or not, whatever is stored.

    Args:
        request: Gives task, seed and the candidates to choose from.
        cells: Budgets and their networks.

    Raises:
        BudgetError: A cell affords none, or its network does not state what its budget limits.
    """
    views = _views(StoredCurves(request, {}, {}, 0), cells)
    for cell in cells:
        views[_mark(cell)].check(cell.budget)


def _views(stored: StoredCurves, cells: Sequence[BudgetOnNetwork]) -> dict[str, NetworkView]:
    """Return the stored curves as each network of cells sees them."""
    profiles = {_mark(cell): cell.profile for cell in cells}
    return {mark: NetworkView(stored, made, len(cells)) for mark, made in profiles.items()}


def _mark(cell: BudgetOnNetwork) -> str:
    return fingerprint({"name": cell.profile.name, **cell.profile.settings()})


def _cell_answer(view: NetworkView, limit: Limit, rounds: Mapping[Candidate, int]) -> Answer:
    """Return a cell's answer; ``rounds`` holds the horizons of candidates that afford a round."""
    stored = view.stored
    curves = {c: curve for c, curve in stored.curves.items() if c in rounds}
    failed = {c for c, curve in curves.items() if curve.failed}
    ends = {
        c: last_evaluated_round(min(curves[c].rounds, rounds[c])) for c in curves.keys() - failed
    }
    peaks = {c: peak_round(curves[c].until(end), stored.known.examples) for c, end in ends.items()}
    fallen = {c: peak for c, peak in peaks.items() if peak}  # where runs end whose accuracy fell
    ends |= fallen
    seen = {c for c, end in ends.items() if c in fallen or end >= rounds[c]}
    nbytes = {c: float(view.stored_traffic[c].nbytes()[end - 1]) for c, end in ends.items()}
    asked = {c: fallen.get(c, n) for c, n in rounds.items() if c not in failed}
    known = stored.known.intervals(asked)
    gone = {c: curve.rounds / rounds[c] for c, curve in curves.items()}
    best = best_stored_candidate(known, nbytes, gone)
    early = stored.known.intervals({c: end for c, end in ends.items() if c not in seen})
    later = known[best] if best and not Range.of(known[best]).is_vague else None
    stopped = best_early_stop(early, nbytes, later)
    cell = Answer(
        network=view.profile.name,
        budget=limit.budget.text,
        limit=limit.describe(),
        kind="unknown",
        confirm_rounds=min((n for c, n in asked.items() if c not in seen), default=0),
        measured=len(seen),
        searched=len(rounds),
        skipped=stored.skipped,
        traffic_alone=view.profile.is_traffic_alone,
    )
    answer = stopped or best
    if answer is None:
        return _prior_answer(cell, view, limit, rounds) if not curves else cell
    cell = cell.model_copy(update={"affords": rounds[answer]})
    if stopped or answer in seen:
        made = early[answer] if stopped else known[answer]
        told = _measured_answer(cell, view, limit, answer, ends[answer], made)
    else:
        told = _forecast_answer(cell, view, limit, answer, rounds[answer], known[answer])
    if stopped and not later:
        told = told.model_copy(update=_confirmation(view, answer, rounds[answer]))
    return told.model_copy(update=_chance(stored.request, told))


def _measured_answer(
    cell: Answer, view: NetworkView, limit: Limit, best: Candidate, end: int, known: Interval
) -> Answer:
    told = _bare_answer(cell, limit, best, view.stored_traffic[best], end)
    update = {"kind": "measured", "accuracy": known.mean, "interval": Range.of(known)}
    return told.model_copy(update=update)


def _forecast_answer(
    cell: Answer, view: NetworkView, limit: Limit, best: Candidate, rounds: int, known: Interval
) -> Answer:
    stored, interval = view.stored, Range.of(known)
    confirm = _confirmation(view, best, rounds)
    sizes = stored.request.config(best).sizes
    update = {"kind": "forecast", "accuracy": interval.mean, "interval": interval, **confirm}
    update["total_bytes_error"] = max(sizes.error(way, rounds) for way in WAYS)
    return _bare_answer(cell, limit, best, view.predicted_traffic[best], rounds).model_copy(
        update=update
    )


def _prior_answer(
    cell: Answer, view: NetworkView, limit: Limit, rounds: Mapping[Candidate, int]
) -> Answer:
    """Return the favourite of the prior over tasks; the unknown cell if there is no prior."""
    prior = view.stored.request.task_prior
    if prior is None:
        return cell
    best = prior.order(rounds)[0]
    made = Interval(*prior.interval((best, rounds[best]), LEVEL), "forecast")
    told = _forecast_answer(cell, view, limit, best, rounds[best], made)
    update = {"from_tasks": prior.names, "affords": rounds[best]}
    return told.model_copy(update=update | _chance(view.stored.request, told))


def _confirmation(view: NetworkView, best: Candidate, rounds: int) -> dict[str, Any]:
    """Return the rounds that a run lacks, and the host seconds that they take."""
    curve, host_s = view.stored.curves.get(best), view.stored.host_s(best)
    more = rounds - (curve.rounds if curve else 0)
    return {"confirm_rounds": more, "confirm_s": host_s and more * host_s}


def _chance(request: Request, told: Answer) -> dict[str, Any]:
    """Return the accuracy of chance, and whether an answer's accuracy exceeds it."""
    chance, examples = request.chance_accuracy(), request.prediction_counts()["validation"]
    learned = told.accuracy is not None and beats_chance(told.accuracy, chance, examples)
    return {"chance": chance, "learned": learned}


def _bare_answer(
    cell: Answer, limit: Limit, best: Candidate, traffic: Traffic, rounds: int
) -> Answer:
    """Return a cell's answer without accuracy; ``traffic`` holds the messages of ``best``."""
    return cell.model_copy(
        update={
            "candidate": best,
            "rounds": rounds,
            "simulated_s": float(limit.closing_times(traffic)[rounds - 1]),
            "total_bytes": float(traffic.nbytes()[rounds - 1]),
            "confirm_rounds": 0,
        }
    )


def _horizons(view: NetworkView, limit: Limit, cap: int) -> Iterator[tuple[Candidate, int]]:
    """Yield each candidate with its affordable rounds, by real bytes if its run is stored."""
    for candidate, predicted in view.predicted_traffic.items():
        expected = limit.rounds(predicted)
        if candidate in view.stored.records:
            yield candidate, _real_horizon(view, candidate, limit, cap, expected)
        else:
            yield candidate, expected


def _real_horizon(
    view: NetworkView, candidate: Candidate, limit: Limit, cap: int, expected: int
) -> int:
    """Return a stored run's affordable rounds, extrapolated from its second half.

    If that spent nothing (the busiest device took no part), from the whole run.
    """
    spent_R = limit.shares(view.stored_traffic[candidate])
    rounds, inside = len(spent_R), int(np.count_nonzero(spent_R <= 1))
    if inside < rounds or rounds >= cap:
        return min(inside, cap)
    if rounds < TELLING_ROUNDS:
        return max(rounds, expected)
    half = rounds // 2
    a_round = (spent_R[-1] - spent_R[half - 1]) / (rounds - half) or spent_R[-1] / rounds
    return min(cap, rounds + int((1 - spent_R[-1]) / a_round))
