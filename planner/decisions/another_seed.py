"""Another seed of a plan's configuration: its figures, and its difference to the plan's own run.

The figures of the new run are judged from this run alone. Their intervals are those of the
configuration, with the variation between seeds that the plan assumes.

The difference is that of the two runs. They are two samples of one configuration, which has no
true difference: the intervals of the difference cover the choice of examples, not that of seeds. On
test the predictions are known, and the difference is paired by example
(:func:`floss_sim.analysis.on_test.difference_on_test`). On validation only accuracies are stored:
their errors are taken as independent and binomial. That is wider than a paired interval, because
the same examples are easy for both runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.analysis.on_test import DifferenceOnTest, HitsOnTest, accuracy_on_test
from planner.forecasts.intervals import LEVEL, SEED_LUCK, run_interval
from planner.forecasts.smoothing import difference_error
from planner.plans.outcome import Outcome


@dataclass(frozen=True)
class SeedDifference:
    """Accuracy of a run with another seed less that of the plan's own run.

    Attributes:
        to_seed: The plan's own seed.
        low: Lower end of the interval on validation, -1 to 1.
        mean: The difference of smoothed validation accuracies, -1 to 1.
        high: Upper end of the interval on validation, -1 to 1.
        examples: Number of validation predictions.
        test: The difference on test, paired by example; None if the plan's own run is not stored.
    """

    to_seed: int
    low: float
    mean: float
    high: float
    examples: int
    test: DifferenceOnTest | None

    @classmethod
    def of(
        cls,
        made: Outcome,
        planned: Outcome,
        to_seed: int,
        examples: int,
        test: DifferenceOnTest | None,
    ) -> SeedDifference:
        """Return the difference of two outcomes of one configuration.

        Args:
            made: Of the run with another seed.
            planned: Of the plan's own run.
            to_seed: The plan's own seed.
            examples: Number of validation predictions.
            test: The difference on test, if it is known.
        """
        ours, theirs = made.smoothed_accuracy, planned.smoothed_accuracy
        mean, error = ours - theirs, difference_error((ours + theirs) / 2, examples)
        half = NormalDist().inv_cdf((1 + LEVEL) / 2) * error
        return cls(to_seed, max(mean - half, -1.0), mean, min(mean + half, 1.0), examples, test)

    def to_json(self) -> dict[str, Any]:
        """Return the difference as JSON values, with the level of its intervals."""
        ends = {"low": self.low, "mean": self.mean, "high": self.high, "level": LEVEL}
        return {
            "to_seed": self.to_seed,
            "validation": {**ends, "examples": self.examples},
            "test": self.test and self.test.to_json(),
        }


def judged_alone(
    outcome: Outcome,
    planned: Outcome,
    hits: Sequence[HitsOnTest],
    predictions_E: NDArray[np.int64],
    examples: int,
) -> Outcome:
    """Return an outcome with its accuracies on validation and test, judged from its run alone.

    Args:
        outcome: Of the run.
        planned: The plan's outcome; its test accuracy says how much seeds vary.
        hits: What the run gets right on the test split.
        predictions_E: Number of predictions of each of E test examples.
        examples: Number of validation predictions.
    """
    seed_sd = (planned.test.seed_sd if planned.test else None) or SEED_LUCK
    return replace(
        outcome,
        test=accuracy_on_test(hits, predictions_E, seed_sd),
        interval=run_interval(outcome.learning_curve, outcome.rounds, examples, seed_sd),
    )
