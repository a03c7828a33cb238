"""What the sliders of a plan's page need: its stored runs, its budget, and the rule of choice."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import NormalDist

import numpy as np

from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.analysis.traffic import Floats, Ints, Traffic
from floss_sim.analysis.traffic_costs import TrafficCosts
from floss_sim.errors import BudgetError
from floss_sim.page import texts
from floss_sim.page.formula_data import FormulaData
from floss_sim.page.shown import (
    Choice,
    ShownConfiguration,
    ShownNetwork,
    Slider,
    unserved_reason,
    without_first,
)
from floss_sim.page.sliders import BUDGET_FACTORS, budget_slider, network_sliders
from floss_sim.protocol.sampling import draw_cohort
from planner.candidates import Candidate
from planner.decisions.recommend import HALF_BYTES_WORTH, TIE_ERRORS
from planner.execution.curve_store import last_evaluated_round
from planner.forecasts.falls import peak_round
from planner.forecasts.intervals import LEVEL, Interval
from planner.page.plan_network import PlanNetwork
from planner.page.shown_runs import label_of, what_text
from planner.page.used_runs import UsedRun, UsedRuns
from planner.plans.plan import Plan
from planner.question.budget import Limit
from planner.report.objective_text import cost_text

MOST_CURVES = 64
_FIXED = "fixed"


@dataclass(frozen=True)
class PlanWhatIf:
    """The sliders of a plan's page.

    Attributes:
        used: The stored runs of the plan.
        network: The network of the plan.
        folder: Folder of the page, to which paths in commands are relative.
    """

    used: UsedRuns
    network: PlanNetwork
    folder: Path

    @property
    def _plan(self) -> Plan:
        return self.used.plan

    @property
    def clients(self) -> int:
        """Clients of the fleet."""
        fleet = self._plan.request.get("fleet") or {}
        return int(fleet.get("clients", 0))

    @cached_property
    def shown(self) -> dict[Candidate, UsedRun]:
        """The runs on the page: at most ``MOST_CURVES``, those of the plan's table first."""
        plan = self._plan
        first = (plan.recommendation, *filter(None, plan.baselines.values()), *plan.runners_up)
        named = dict.fromkeys(outcome.candidate for outcome in first)
        ended = {c: run for c, run in self.used.runs.items() if not run.curve.failed}
        rest = sorted(ended.keys() - named.keys(), key=lambda c: -max(ended[c].curve.accuracies))
        order = [c for c in (*named, *rest) if c in ended]
        return {c: ended[c] for c in order[:MOST_CURVES]}

    @cached_property
    def intervals(self) -> dict[Candidate, list[tuple[int, Interval]]]:
        """The expected accuracy at each evaluated round of the shown runs."""
        points = [(c, r) for c, run in self.shown.items() for r in run.curve.evaluated]
        made = self.used.known.intervals_at(points)
        return {
            c: [(r, made[c, r]) for r in run.curve.evaluated if (c, r) in made]
            for c, run in self.shown.items()
        }

    @cached_property
    def traffic(self) -> dict[Candidate, Traffic]:
        """The recorded messages of the shown runs."""
        return {c: Traffic.of(run.record) for c, run in self.shown.items()}

    @cached_property
    def unserved(self) -> dict[str, str]:
        """Why networks are not offered, by their titles."""
        runs = list(self.traffic.values())
        found = {one.title: unserved_reason(one, runs) for one in self._offered}
        costs = {one.title: self._cost_reason(one) for one in self._offered}
        return {title: why for title in found if (why := found[title] or costs[title])}

    @cached_property
    def _offered(self) -> list[ShownNetwork]:
        return self.network.shown(self.clients, self.folder)

    @cached_property
    def networks(self) -> list[ShownNetwork]:
        """The networks that are served; the plan's own is the first one if it is served."""
        return [one for one in self._offered if one.title not in self.unserved]

    @property
    def is_served(self) -> bool:
        """Whether the plan's own network is served."""
        return bool(self.networks) and self.networks[0] is self._offered[0]

    def sliders(self) -> dict[str, Slider]:
        """Return the sliders."""
        profiles = [one.profile for one in self.networks]
        computes = any(
            link.computes for one in profiles for link in one.links(self.clients)
        ) and self._plan.limit.budget.kind not in ("money", "energy", "battery")
        made = network_sliders(self.networks, self.network.settings, computes=computes)
        told = [_budget_text(self._plan, factor) for factor in BUDGET_FACTORS]
        return {**made, "budget": budget_slider(told)}

    def costs_at(self, candidate: Candidate, rounds: int) -> tuple[float, TimeSpread] | None:
        """Return the fraction of the budget that a run has spent after a round, and its time.

        None if the store lacks the run. On the plan's network, with its changes.
        """
        if candidate not in self.shown:
            return None
        profile, plan = self.network.profile, self._plan
        run = self.traffic[candidate].until(rounds).with_first(profile.first_download)
        fleets = Fleets.of(profile, self.clients, plan.limit.budget.confidence)
        costs = TrafficCosts(profile, self.clients)
        links = profile.links(self.clients)
        limit = replace(plan.limit, links=links, fleets=fleets, costs=costs)
        return float(limit.spending(run)[-1] / limit.amount), fleets.spread(run)

    def notes(self) -> list[str]:
        """Return which networks the sliders do not cover, and the command that times runs there."""
        commands = {one.title: one.words for one in self._offered}
        commands[self._offered[0].title] += self.network.settings.words
        best = self.shown[self._plan.recommendation.candidate]
        path = shlex.quote(_relative(best.folder.path, self.folder))
        return [
            texts.NOT_SERVED.format(
                network=title, why=why, command=f"floss-sim replay {path} {commands[title]}"
            )
            for title, why in self.unserved.items()
        ]

    def data(self) -> FormulaData:
        """Return what the formula needs."""
        made = [self._configuration(c, run) for c, run in self.shown.items()]
        return FormulaData(self.networks, made, self._choice())

    def _configuration(self, candidate: Candidate, used: UsedRun) -> ShownConfiguration:
        run, first_bytes = without_first(self.traffic[candidate])
        told, plan = self.intervals[candidate], self._plan
        rounds = [number for number, _ in told]
        nbytes_R = self.traffic[candidate].nbytes()
        figures = (
            [one.mean for _, one in told],
            [one.low for _, one in told],
            [one.high for _, one in told],
            [float(nbytes_R[number - 1]) for number in rounds],
        )
        baselines = {outcome.candidate for outcome in filter(None, plan.baselines.values())}
        return ShownConfiguration(
            label=label_of(plan, candidate) or what_text(candidate),
            is_named=candidate in {*baselines, plan.recommendation.candidate},
            runs=(run,),
            first_bytes=first_bytes,
            evaluated=rounds,
            figures=figures,
            command=shlex.quote(_relative(used.folder.path, self.folder)),
            peaks=_peaks(used, rounds, self.used.known.examples),
            most=self._most_rounds(candidate),
            is_baseline=candidate in baselines,
            spent=[self._spent(one, self.traffic[candidate]) for one in self.networks]
            if _kind(plan) == _FIXED
            else (),
        )

    def _most_rounds(self, candidate: Candidate) -> int:
        """Return the rounds in which a run keeps to its epsilon and its busiest device's limit."""
        limit = self._plan.request.get("max_client_bytes") or math.inf
        busiest_R = self.traffic[candidate].with_first(self.network.base.first_download)
        inside = int(np.count_nonzero(busiest_R.busiest_bytes() <= limit))
        rounds, cohort = self.traffic[candidate].shape
        most = self._plan.limit.private_rounds.get(cohort, 2**31)
        return min(inside, most) if inside < rounds else most

    def _limit(self, network: ShownNetwork) -> Limit:
        plan, clients = self._plan, self.clients
        costs = TrafficCosts(network.profile, clients)
        links = network.profile.links(clients)
        return Limit(plan.limit.budget, plan.limit.amount, links, plan.limit.cohort, costs=costs)

    def _spent(self, network: ShownNetwork, run: Traffic) -> Floats:
        run = run.with_first(network.profile.first_download)
        return self._limit(network).traffic_spending(run, np.empty(0))

    def _cost_reason(self, network: ShownNetwork) -> str | None:
        """Return that a network does not state what the budget limits; None if it does."""
        if _kind(self._plan) != _FIXED or not self.traffic:
            return None
        try:
            self._spent(network, next(iter(self.traffic.values())))
        except BudgetError:
            return texts.UNSERVED_COSTS
        return None

    def _choice(self) -> Choice:
        plan, budget = self._plan, self._plan.limit.budget
        cap = plan.request["max_rounds"]
        return Choice(
            kind=_kind(plan),
            amount=plan.limit.amount,
            share=budget.confidence,
            tie=TIE_ERRORS * math.sqrt(2) / (2 * NormalDist().inv_cdf((1 + LEVEL) / 2)),
            half=HALF_BYTES_WORTH,
            cap=cap,
            target=plan.target,
            most_round_s=plan.request.get("max_round_s"),
            schedule=[r for r in range(1, cap + 1) if last_evaluated_round(r) == r],
            dense=self._dense() if _kind(plan) == "link" else None,
        )

    def _dense(self) -> tuple[int, Ints, int]:
        """Return the number of dense rounds, their clients, and the bytes of a dense message.

        The bytes follow from the plan's amount: that is the sum over these clients of one message
        each way over their rates, and of first downloads.
        """
        plan = self._plan
        rounds, seed = int(plan.limit.budget.amount), plan.request["seed"]
        most = math.ceil(rounds * max(BUDGET_FACTORS))
        cohort = _reference_cohort(self.used)
        drawn = [
            draw_cohort(seed, number, self.clients, cohort).clients for number in range(1, most + 1)
        ]
        clients_RC = np.array(drawn, dtype=np.int64)
        none = np.zeros_like(clients_RC[:rounds])
        links, first_bytes = (
            self.network.profile.links(self.clients),
            self.network.base.first_download,
        )
        once = Traffic(clients_RC[:rounds], none, none, none, none)
        fixed_s = once.with_first(first_bytes).link_seconds(links)[-1]
        a_byte_s = once.with_sizes(1, 1).link_seconds(links)[-1]
        return rounds, clients_RC, round((plan.limit.amount - fixed_s) / a_byte_s)


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())


def _reference_cohort(used: UsedRuns) -> int:
    """Return the clients of a round of candidates that leave them to the task."""
    plan = used.plan
    for outcome in (*filter(None, plan.baselines.values()), plan.recommendation):
        if not outcome.candidate.cohort_size:
            return outcome.cohort
    return plan.limit.cohort


def _peaks(used: UsedRun, rounds: Sequence[int], examples: int) -> list[int]:
    """Return the place of the round at which a run up to each evaluated round should end."""
    peaks = [peak_round(used.curve.until(number), examples) or number for number in rounds]
    return [rounds.index(number) for number in peaks]


def _kind(plan: Plan) -> str:
    kind = plan.limit.budget.kind
    return {"dense-rounds": "link", "seconds": "seconds"}.get(kind, _FIXED)


def _budget_text(plan: Plan, factor: float) -> str:
    """Return the text of a share of the budget."""
    if plan.limit.budget.kind == "dense-rounds":
        rounds = max(1, int(plan.limit.budget.amount * factor + 0.5))  # as the script rounds
        return texts.DENSE_ROUNDS.format(count=rounds)
    return cost_text(plan, factor)
