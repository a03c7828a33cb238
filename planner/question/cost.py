"""Predicted costs of candidates: message sizes from the method, round times from the network.

Nothing is trained for them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.traffic import Floats, Traffic
from floss_sim.analysis.traffic_costs import TrafficCosts
from floss_sim.errors import BudgetError
from floss_sim.methods import SizePredictor
from floss_sim.runs.calibration import Calibration
from floss_sim.units import format_bytes, format_duration
from floss_sim.wire import plain_nbytes
from planner.candidates import Candidate
from planner.question.budget import Limit
from planner.question.known_costs import with_known_costs
from planner.question.request import Request

MIN_ROUNDS = 2  # rounds that the limit must afford a candidate
Cause = Literal["round_s", "client_bytes", "epsilon", "budget"]


@dataclass(frozen=True)
class Cost:
    """Predicted cost of a candidate.

    Sizes follow from the method and from recorded runs (``methods.SizePredictor``). Real sizes are
    known only after a run's first rounds.

    Attributes:
        down_bytes: Payload bytes of one download, the mean of a run.
        up_bytes: Payload bytes of one upload, the mean of a run.
        down_bytes_error: Relative error that such predictions of downloads had on recorded runs.
        up_bytes_error: Relative error that such predictions of uploads had on recorded runs.
        round_s: Mean simulated seconds of a round, in the budget's confidence of fleets.
        horizon: Rounds that the limit affords, at most the cap on rounds.
        most: Largest fraction of the limit that a single round uses.
    """

    down_bytes: int
    up_bytes: int
    down_bytes_error: float
    up_bytes_error: float
    round_s: float
    horizon: int
    most: float

    def to_json(self) -> dict[str, float]:
        """Return the cost as JSON values."""
        return {
            "down_bytes": self.down_bytes,
            "up_bytes": self.up_bytes,
            "down_bytes_error": self.down_bytes_error,
            "up_bytes_error": self.up_bytes_error,
            "round_s": self.round_s,
            "affordable_rounds": self.horizon,
        }

    @property
    def run_bytes(self) -> int:
        """Bytes that one client transfers if it takes part in each of ``horizon`` rounds."""
        return self.horizon * (self.down_bytes + self.up_bytes)

    @property
    def run_bytes_error(self) -> float:
        """Relative error of ``run_bytes``, if both directions are off in the same sense."""
        down, up = self.down_bytes * self.down_bytes_error, self.up_bytes * self.up_bytes_error
        return (down + up) / (self.down_bytes + self.up_bytes)


@dataclass(frozen=True)
class Costs:
    """The limit, and the costs of the candidates and baselines for which it affords rounds.

    Attributes:
        limit: The budget on the network, and the further limits of a run.
        of: Cost of every searched candidate, and of every baseline that affords a round and keeps
            to the limits.
        searched: The candidates in ``of`` that a search may train.
        causes: The first cause that holds, by excluded candidate.
        missing: Baselines that are excluded, each with the first cause that holds.
        courses: For every candidate and baseline: the predicted messages of a run up to the cap
            on rounds, and the instants in seconds at which its rounds close.
        sizes: Predictor of the messages of each of them, which knows its errors.
    """

    limit: Limit
    of: Mapping[Candidate, Cost]
    searched: tuple[Candidate, ...]
    causes: Mapping[Candidate, Cause]
    missing: Mapping[Candidate, Cause]
    courses: Mapping[Candidate, tuple[Traffic, Floats]]
    sizes: Mapping[Candidate, SizePredictor]

    @property
    def left_out(self) -> Mapping[Cause, int]:
        """Number of excluded candidates, by the first cause that holds."""
        return dict(sorted(Counter(self.causes.values()).items()))

    @property
    def grid_rounds(self) -> int:
        """Rounds that the budget affords all searched candidates together.

        To train them all takes less: a run stops at its last evaluated round.
        """
        return sum(self.of[candidate].horizon for candidate in self.searched)

    def rounds(self, candidate: Candidate, calibration: Calibration) -> int:
        """Return the rounds that the limit affords a candidate at calibrated message sizes."""
        return self.limit.rounds(self.predicted_traffic(candidate).with_calibration(calibration))

    def predicted_traffic(self, candidate: Candidate) -> Traffic:
        """Return the predicted messages of a candidate's run up to the cap on rounds."""
        traffic, _ = self.courses[candidate]
        return traffic


def price(request: Request) -> Costs:
    """Return the predicted costs of a request's candidates and baselines, without training.

    Raises:
        BudgetError: Every candidate is excluded; the message gives the cost of the cheapest.
    """
    limit = resolve_limit(request)
    wanted = sorted({*request.candidates, *request.baselines().values()})
    rounds, first_bytes = request.max_rounds, request.profile.first_download
    configs = {c: request.config(c) for c in wanted}
    sizes = {c: made.sizes for c, made in configs.items()}
    traffic = {c: Traffic.predict(made, rounds, first_bytes) for c, made in configs.items()}
    quick = limit.sharing(len(wanted))
    courses = {c: (t, quick.closing_times(t)) for c, t in traffic.items()}
    return _costs(request, limit, courses, sizes)


def costs_within(request: Request, costs: Costs, amount: float) -> Costs:
    """Return the costs of a request at a smaller amount of its budget.

    Args:
        request: The request.
        costs: Its costs at the full budget; predicted messages and round times are reused.
        amount: The smaller amount, in the unit of ``costs.limit.amount``.

    Raises:
        BudgetError: Every candidate is excluded; the message gives the cost of the cheapest.
    """
    return _costs(request, replace(costs.limit, amount=amount), costs.courses, costs.sizes)


def _costs(
    request: Request,
    limit: Limit,
    courses: Mapping[Candidate, tuple[Traffic, Floats]],
    sizes: Mapping[Candidate, SizePredictor],
) -> Costs:
    costs = {c: cost_of(*course, limit, sizes[c]) for c, course in courses.items()}
    candidates, baselines = set(request.candidates), set(request.baselines().values())
    fewest = min(MIN_ROUNDS, request.max_rounds)
    told = {c: _cause(request, limit, costs[c], courses[c][0], fewest) for c in candidates}
    causes = {c: cause for c, cause in told.items() if cause}
    searched = tuple(c for c in sorted(candidates) if c not in causes)
    if not searched:
        raise _nothing_left_error(request, limit, costs, causes)
    told = {c: _cause(request, limit, costs[c], courses[c][0], 1) for c in sorted(baselines)}
    missing = {c: cause for c, cause in told.items() if cause}
    shown = baselines - missing.keys() | set(searched)
    affordable = {c: cost for c, cost in costs.items() if c in shown}
    return Costs(limit, affordable, searched, causes, missing, courses, sizes)


def resolve_limit(request: Request) -> Limit:
    """Return the limit that a request's budget sets on its network.

    Raises:
        ConfigError: The data cannot be partitioned over the clients.
        BudgetError: The network does not state the prices, the energy or the battery of the budget.
    """
    request.reference().check_partition()  # before a link is made for every client
    reference, budget, clients = request.reference(), request.budget, request.task.partition.clients
    limit = Limit(
        budget,
        budget.amount,
        request.profile.links(clients),
        reference.server.cohort,
        request.max_client_bytes,
        Fleets.of(request.profile, clients, budget.confidence),
        TrafficCosts(request.profile, clients),
        request.private_rounds(),
    )
    if budget.kind in ("money", "energy", "battery"):
        return with_known_costs(limit, request.profile, Traffic.predict(reference, 1))
    if budget.kind != "dense-rounds":
        return limit
    plain = plain_nbytes(reference.layout.entries)  # 32 bits an entry
    rounds, first_bytes = int(budget.amount), request.profile.first_download
    dense = Traffic.predict(reference, rounds, first_bytes).with_sizes(plain, plain)
    return replace(limit, amount=float(limit.spending(dense)[-1]))


def cost_of(traffic: Traffic, closed_at_R: Floats, limit: Limit, sizes: SizePredictor) -> Cost:
    """Return the cost of a run.

    Args:
        traffic: The run's messages.
        closed_at_R: Instants at which its rounds close, in seconds.
        limit: The budget on the network, and the further limits of a run.
        sizes: Predictor of the run's messages, which knows its errors.
    """
    share_R = limit.with_further_limits(
        limit.traffic_spending(traffic, closed_at_R) / limit.amount, traffic
    )
    horizon = int(np.count_nonzero(share_R <= 1))
    run = slice(0, max(1, horizon))
    return Cost(
        down_bytes=round(float(traffic.down[run].mean())),
        up_bytes=round(float(traffic.up[run].mean())),
        down_bytes_error=sizes.error("down", run.stop),
        up_bytes_error=sizes.error("up", run.stop),
        round_s=float(closed_at_R[run][-1]) / run.stop,
        horizon=horizon,
        most=float(np.max(np.diff(share_R, prepend=0.0))),
    )


def _cause(
    request: Request, limit: Limit, cost: Cost, traffic: Traffic, fewest: int
) -> Cause | None:
    """Return the first cause that excludes a candidate, or None if it may be trained.

    Args:
        request: The request, with its limits.
        limit: The budget on the network.
        cost: Cost of the candidate.
        traffic: Predicted messages of its run up to the cap on rounds.
        fewest: Rounds that the limit must afford it.
    """
    if not _is_quick(request, cost):
        return "round_s"
    if cost.horizon >= fewest:
        return None
    if traffic.busiest_bytes()[fewest - 1] > limit.client_bytes:
        return "client_bytes"
    allowed = limit.private_rounds.get(traffic.shape[1], fewest)
    return "epsilon" if allowed < fewest else "budget"


def _is_quick(request: Request, cost: Cost) -> bool:
    """Return whether a candidate's mean round takes no longer than the request allows."""
    return cost.round_s <= request.max_round_s


def _nothing_left_error(
    request: Request,
    limit: Limit,
    costs: Mapping[Candidate, Cost],
    causes: Mapping[Candidate, Cause],
) -> BudgetError:
    """Return the error to raise if every candidate is excluded, each by its cause."""
    if request.privacy and {*causes.values()} == {"epsilon"}:
        return BudgetError(
            f"epsilon {request.privacy.max_epsilon:g} allows no candidate {MIN_ROUNDS} rounds with "
            f"noise multiplier {request.privacy.settings.noise:g}; raise one of the two"
        )
    quick = [c for c in request.candidates if _is_quick(request, costs[c])]
    if not quick:
        fastest = min(request.candidates, key=lambda c: costs[c].round_s)
        return BudgetError(
            f"a mean round takes more than {format_duration(request.max_round_s)} for every "
            f"candidate; for the fastest ({fastest}) {format_duration(costs[fastest].round_s)}"
        )
    cheapest = min(quick, key=lambda c: costs[c].most)
    most = costs[cheapest].most
    what = f"budget {limit.budget.text!r}"
    if limit.client_bytes < math.inf:
        what += f" with at most {format_bytes(limit.client_bytes)} a client"
    affords = "no round" if most > 1 else f"no {MIN_ROUNDS} rounds"
    times = f"{most:.3g}" if most < 1000 else f"{most:,.0f}"
    return BudgetError(
        f"{what} affords {affords} of any candidate; a round of the cheapest ({cheapest}) takes "
        f"{times} times the budget"
    )
