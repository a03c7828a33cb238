"""Test accuracies of the reported runs, and their paired differences; no choice reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from floss_sim.analysis.on_test import (
    DifferenceOnTest,
    HitsOnTest,
    accuracy_on_test,
    difference_on_test,
)
from planner.candidates import Candidate
from planner.plans.outcome import Outcome


@dataclass(frozen=True)
class ReportedOnTest:
    """What the reported runs get right on the test split.

    Attributes:
        hits: Hits of each run, one for each seed, the request's seed first.
        predictions: Number of predictions of each test example, shape (E,).
        seed_sd: Standard deviation of accuracy between seeds, in log-odds, estimated on validation.
    """

    hits: Mapping[Candidate, Sequence[HitsOnTest]]
    predictions: NDArray[np.int64]
    seed_sd: float

    def outcome(self, outcome: Outcome) -> Outcome:
        """Return an outcome with its test accuracy, if it was measured."""
        runs = self.hits.get(outcome.candidate)
        made = accuracy_on_test(runs, self.predictions, self.seed_sd) if runs else None
        return replace(outcome, test=made)

    def differences(
        self, best: Candidate, baselines: Mapping[str, Candidate]
    ) -> dict[str, DifferenceOnTest]:
        """Return how far a run is ahead of each other baseline, by the baseline's name.

        Runs are paired by example and by seed, so that only seeds count that both have.
        """
        found = {}
        for name, candidate in baselines.items():
            ours, theirs = self.hits.get(best, ()), self.hits.get(candidate, ())
            pairs = min(len(ours), len(theirs))
            if pairs and candidate != best:
                found[name] = difference_on_test(
                    ours[:pairs], theirs[:pairs], self.predictions, self.seed_sd
                )
        return found
