"""What a plan says of itself beside its table, as inert values of its file."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from floss_sim.documents import Section
from planner.forecasts.intervals import Interval
from planner.question.field_types import (
    Accuracy,
    AccuracyChange,
    Amount,
    Configuration,
    Count,
    PositiveInt,
)

EvidenceKind = Literal["measured", "forecast", "unknown"]
Axis = Literal["rank", "down_density", "up_density", "cohort_size", "epochs", "values", "method"]


class Range(Section):
    """An accuracy that is forecast: its mean, and the ends of its interval."""

    low: Accuracy
    mean: Accuracy
    high: Accuracy

    @model_validator(mode="after")
    def _check_order(self) -> Range:
        if not self.low <= self.mean <= self.high:
            raise ValueError("an interval's low, mean and high must ascend")
        return self

    @classmethod
    def of(cls, interval: Interval) -> Range:
        """Return the range of an interval."""
        return cls(low=interval.low, mean=interval.mean, high=interval.high)


class RoundTime(Section):
    """Where the seconds of a round go.

    Attributes:
        round_s: Mean simulated seconds of a round.
        download: Share in which the client that a round waits for downloads bytes; likewise
            ``upload``, ``compute``, ``latency`` (round trips and setting up) and ``queueing``
            (behind others' transfers).
        waiting: Mean share of a round that a client has reported and waits for the others.
    """

    round_s: Amount
    download: Accuracy
    upload: Accuracy
    latency: Accuracy
    compute: Accuracy
    queueing: Accuracy
    waiting: Accuracy


class Neighbour(Section):
    """A candidate one step away, and the accuracy that it has or may have.

    Attributes:
        axis: What differs from the recommendation.
        candidate: The neighbour.
        rounds: Rounds that the budget affords it; 0 where it affords none.
        kind: Measured to its end, forecast, or unknown.
        accuracy: Validation accuracy, measured or the mean that is forecast.
        interval: Of a forecast.
    """

    axis: Axis
    candidate: Configuration
    rounds: Count
    kind: EvidenceKind
    accuracy: Accuracy | None = None
    interval: Range | None = None

    @model_validator(mode="after")
    def _check_kind(self) -> Neighbour:
        if (self.kind == "unknown") != (self.accuracy is None):
            raise ValueError("an accuracy must be there unless it is unknown")
        if (self.kind == "forecast") != (self.interval is not None):
            raise ValueError("a forecast, and nothing else, has an interval")
        return self


class MoreBudget(Section):
    """What a tenth more budget would buy: rounds in all, and the accuracy forecast there.

    ``accuracy`` is None where it buys no measured round: the cap on rounds binds.
    """

    rounds: PositiveInt
    accuracy: Range | None = None


class StopRule(Section):
    """Whether more search is worth it.

    The rule stops when what more search may still gain is below the noise of one evaluation
    (Makarova et al., "Automatic Termination for Hyperparameter Optimization", AutoML 2022). In
    place of their bound on the regret stands the expected improvement of the best unfinished
    candidate at its own horizon (as in Nguyen et al., "Regret for Expected Improvement over the
    Best-Observed Value and Stopping Condition", ACML 2017), under the forecast.

    Attributes:
        candidate: The unfinished candidate of the largest expected improvement.
        rounds: Rounds of training that would finish it.
        gain: Its expected improvement of the best finished accuracy.
        noise: One standard error of an accuracy.
    """

    candidate: Configuration
    rounds: PositiveInt
    gain: AccuracyChange
    noise: Amount

    @property
    def is_reached(self) -> bool:
        """Whether more search is not worth it."""
        return self.gain < self.noise


class Explanation(Section):
    """What binds a plan, what is near it, and what more budget or search would buy.

    Attributes:
        spent_on_uploads: Share of what is spent of the budget that goes into uploads; None for
            a budget of simulated time, of which ``time`` tells more.
        time: Where the seconds of a round go.
        neighbours: One step away on each axis.
        tenth: A tenth more budget; None where nothing can be forecast.
        stop: More search; None where every candidate is finished or nothing can be forecast.
    """

    spent_on_uploads: Accuracy | None
    time: RoundTime
    neighbours: tuple[Neighbour, ...]
    tenth: MoreBudget | None = None
    stop: StopRule | None = None

    def target_part(self) -> Explanation:
        """Return what of it explains a plan that ends at a target: not what lies beyond."""
        return self.model_copy(update={"neighbours": (), "tenth": None, "stop": None})
