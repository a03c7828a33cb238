"""The best configuration at some settings, by the planner's own functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.traffic import Traffic
from floss_sim.network import NetworkProfile
from planner.candidates import Candidate
from planner.decisions.recommend import choose, options
from planner.execution.curve_store import last_evaluated_round
from planner.page.used_runs import UsedRuns
from planner.plans.outcome import Outcome, outcome_within
from planner.question.budget import Limit


@dataclass(frozen=True)
class Oracle:
    """Chooses the best stored configuration of a plan for a budget on a network.

    Attributes:
        used: The stored runs.
        clients: Clients of the fleet.
        dense: Number of dense rounds, their clients (R x C) and bytes of a message; None for
            budgets of another kind.
    """

    used: UsedRuns
    clients: int
    dense: tuple[int, Any, int] | None

    def best(self, profile: NetworkProfile, factor: float) -> Candidate | None:
        """Return the best configuration at a share of the plan's budget; None without any."""
        limit, cap = self._limit(profile, factor), self.used.plan.request["max_rounds"]
        baselines = {o.candidate for o in filter(None, self.used.plan.baselines.values())}
        finished: dict[Candidate, Outcome] = {}
        ended: dict[Candidate, Outcome] = {}
        for candidate, run in self.used.runs.items():
            told, examples = None, self.used.known.examples
            if not run.curve.failed:
                told = outcome_within(candidate, run.record, limit, cap, cap, 5)
            if told is None:
                continue
            peak = told.peak_round(examples)
            if peak:
                told = outcome_within(candidate, run.record, limit, peak, cap, 5)
            (interval,) = self.used.known.intervals_at([(candidate, told.rounds)]).values()
            is_open = not peak and self._horizon(run.record, limit, cap) > run.curve.rounds
            (ended if is_open else finished)[candidate] = replace(told, interval=interval)
        if not finished | ended:
            return None
        among = options(finished, ended, baselines) or ended
        return choose(list(among.values()), self.used.known.examples).recommendation.candidate

    def _limit(self, profile: NetworkProfile, factor: float) -> Limit:
        budget, links = self.used.plan.limit.budget, profile.links(self.clients)
        fleets = Fleets.of(profile, self.clients, budget.confidence)
        limit = Limit(budget, self.used.plan.limit.amount * factor, links, 5, fleets=fleets)
        if self.dense is None:
            return limit
        rounds, clients_RC, nbytes = self.dense
        count = max(1, math.floor(rounds * factor + 0.5))
        none = np.zeros_like(clients_RC[:count])
        once = Traffic(clients_RC[:count], none, none, none, none).with_sizes(nbytes, nbytes)
        return replace(limit, amount=float(once.link_seconds(links)[-1]))

    def _horizon(self, record: Any, limit: Limit, cap: int) -> int:
        """Return the last evaluated round that the limit affords, beyond the record, too."""
        spent_R = limit.shares(Traffic.of(record))
        rounds, inside = len(spent_R), int(np.count_nonzero(spent_R <= 1))
        if inside == rounds and rounds < cap:
            half = rounds // 2
            a_round = (spent_R[-1] - (spent_R[half - 1] if half else 0)) / (rounds - half)
            a_round = a_round or spent_R[-1] / rounds
            inside = min(cap, rounds + math.floor((1 - spent_R[-1]) / a_round))
        return last_evaluated_round(inside) if inside else 0


def changes_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Return settings of sliders as named changes of a network."""
    made = {f"scale-{name}": repr(float(values[name])) for name in ("down", "up", "compute")}
    made |= {"upload-ratio": repr(float(values["ratio"]))} if values["ratio"] else {}
    return made | ({} if values["rtt"] is None else {"rtt": f"{values['rtt']!r}s"})
