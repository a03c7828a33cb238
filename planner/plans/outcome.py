"""Outcome of a run within a limit: accuracy, bytes, simulated time, share of the budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.analysis.on_test import AccuracyOnTest
from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.records import RunRecord
from planner.candidates import Candidate
from planner.curves import Curve
from planner.forecasts.falls import peak_round
from planner.forecasts.intervals import Interval
from planner.forecasts.smoothing import smoothed_accuracy
from planner.plans.spent_privacy import SpentPrivacy
from planner.plans.time_section import TimeSection
from planner.plans.usage_section import UsageSection
from planner.question.budget import Limit

CLIENT_LIMIT = "limit of a client"  # value of ``binds``: a client's bytes end the run
PRIVACY = "privacy"  # value of ``binds``: further rounds would exceed the request's epsilon
FALL = "fall of accuracy"  # value of ``binds``: the run ends where its accuracy was highest
EFFORT = "effort"  # value of ``binds``: the search trained the run no further


@dataclass(frozen=True)
class Outcome:
    """Outcome of a run, cut where the budget or the effort of the search ends.

    Attributes:
        candidate: The candidate that was trained.
        rounds: Number of rounds within the budget, up to the last evaluated one.
        accuracy: Validation accuracy at the last evaluation, 0 to 1.
        loss: Validation cross-entropy at the last evaluation, nats.
        down_bytes: Bytes of all downloads in these rounds.
        up_bytes: Bytes of all uploads in these rounds.
        own_fleet_s: Simulated wall clock on the plan's network, seconds: that of the fleet drawn
            by the profile's own seed.
        spent: Fraction of the budget spent.
        most: Largest fraction that one round took of the budget or of a further limit.
        binds: Limit that ends the run: ``"budget"``, ``"limit of a client"``, ``"privacy"``,
            ``"round cap"``, ``"fall of accuracy"``, ``"effort"`` or ``"target"``.
        cohort: Number of clients of a round.
        curve: Evaluated rounds: (round, fraction of the budget spent, validation accuracy).
        test: Accuracy on the test split, of the models of the run's last part; None if it was not
            measured.
        interval: Interval of the true accuracy, given all known curves; None before a choice.
        time: Simulated wall clock over the fleets that the network may draw; None before a choice.
        usage: What the run takes from its devices; None before a choice, and in older plans.
        privacy: The epsilon that the rounds spend; None before a choice, and without privacy.
        left: Unspent fraction of the limit that is used most; only while searching.
    """

    candidate: Candidate
    rounds: int
    accuracy: float
    loss: float
    down_bytes: int
    up_bytes: int
    own_fleet_s: float
    spent: float
    most: float
    binds: str
    cohort: int
    curve: tuple[tuple[int, float, float], ...] = field(repr=False)
    test: AccuracyOnTest | None = None
    interval: Interval | None = None
    time: TimeSpread | None = None
    usage: UsageSection | None = None
    privacy: SpentPrivacy | None = None
    left: float = 0.0

    @property
    def expected_accuracy(self) -> float:
        """The expected accuracy, 0 to 1: given all known curves, or before a choice smoothed."""
        return self.interval.mean if self.interval else self.smoothed_accuracy

    @property
    def smoothed_accuracy(self) -> float:
        """Validation accuracy of this run alone, averaged over the last part of its curve."""
        if not self.curve:
            return self.accuracy
        told = self.learning_curve
        return smoothed_accuracy(told.evaluated, told.accuracies, told.rounds)

    @property
    def learning_curve(self) -> Curve:
        """The curve of this run alone, without what it spent."""
        return Curve(
            tuple(number for number, _, _ in self.curve),
            tuple(accuracy for _, _, accuracy in self.curve),
            self.rounds,
        )

    def peak_round(self, examples: int) -> int | None:
        """Return the round of the highest smoothed accuracy; None if the accuracy did not fall.

        Args:
            examples: Validation examples of every accuracy.
        """
        return peak_round(self.learning_curve, examples)

    @property
    def test_accuracy(self) -> float | None:
        """Accuracy on the test split, 0 to 1; None if not measured."""
        return self.test.mean if self.test else None

    @property
    def total_bytes(self) -> int:
        """Bytes of all transfers."""
        return self.down_bytes + self.up_bytes

    def rounds_within(self, share: float) -> int:
        """Return the rounds that a share of the budget affords, at least those of this run.

        Rounds beyond the run's end are assumed to cost what those of its second half cost: the
        first ones may hold downloads that each client makes once. Where these spent nothing, as
        the busiest device was not among their clients, the mean of the run is taken.

        Args:
            share: Share of the budget, above 0; 1 is the whole budget.
        """
        later = [(r, spent) for r, spent, _ in self.curve if self.rounds <= 2 * r < 2 * self.rounds]
        half, spent = later[0] if later else (0, 0.0)
        a_round = (self.spent - spent) / (self.rounds - half) or self.spent / self.rounds
        return self.rounds + max(0, int((share - self.spent) / a_round))

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as plain values; bytes and seconds in their base units."""
        participations = self.rounds * self.cohort
        return {
            **self.candidate.settings(),
            "rounds": self.rounds,
            "validation_accuracy": self.expected_accuracy,
            "last_evaluation": {"accuracy": self.accuracy, "loss": self.loss},
            "test_accuracy": self.test_accuracy,
            "test": self.test and self.test.to_json(),
            "interval": self.interval and self.interval.to_json(),
            "down_bytes": self.down_bytes,
            "up_bytes": self.up_bytes,
            "down_bytes_per_client_round": self.down_bytes / participations,
            "up_bytes_per_client_round": self.up_bytes / participations,
            "own_fleet_s": self.own_fleet_s,
            "time": self.time and TimeSection.of(self.time).to_json(),
            "usage": self.usage and self.usage.to_json(),
            **({"privacy": self.privacy.to_json()} if self.privacy else {}),
            "budget_spent": self.spent,
            "largest_round": self.most,
            "binds": self.binds,
            "cohort": self.cohort,
            "curve": [list(point) for point in self.curve],
        }


def outcome_within(
    candidate: Candidate, record: RunRecord, limit: Limit, rounds: int, cap: int, cohort: int
) -> Outcome | None:
    """Return the outcome of a run that was timed on the limit's network.

    None if the budget affords no evaluated round.

    Args:
        candidate: The candidate that was trained.
        record: Record of the run; may hold more than ``rounds`` rounds.
        limit: The budget on the plan's network.
        rounds: Last round that this outcome may use.
        cap: Last round that any run may use.
        cohort: Number of clients of a round.
    """
    spent_R: NDArray[np.float64] = limit.spending(record) / limit.amount
    share_R = limit.with_further_limits(spent_R, record)
    rows = [
        row
        for row in record.evaluated().to_pylist()
        if row["round"] <= rounds and share_R[row["round"] - 1] <= 1
    ]
    if not rows:
        return None
    last = rows[-1]
    rounds = last["round"]
    return Outcome(
        candidate=candidate,
        rounds=rounds,
        accuracy=last["accuracy"],
        loss=last["loss"],
        down_bytes=sum(record.rounds["down_bytes"].to_pylist()[:rounds]),
        up_bytes=sum(record.rounds["up_bytes"].to_pylist()[:rounds]),
        own_fleet_s=last["closed_at_s"],
        spent=float(spent_R[rounds - 1]),
        most=float(np.max(np.diff(share_R[:rounds], prepend=0.0))),
        left=1 - float(share_R[rounds - 1]),
        binds="round cap"
        if rounds >= cap
        else _binding_limit(limit, spent_R[rounds - 1], share_R[rounds - 1], rounds, cohort),
        cohort=cohort,
        curve=tuple((r["round"], float(spent_R[r["round"] - 1]), r["accuracy"]) for r in rows),
    )


def _binding_limit(limit: Limit, spent: float, share: float, rounds: int, cohort: int) -> str:
    """Return the limit of which a run has used the largest share."""
    if share <= spent:
        return "budget"
    return PRIVACY if limit.privacy_shares(cohort, rounds)[-1] >= share else CLIENT_LIMIT
