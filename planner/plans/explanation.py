"""Data model of a plan's explanation."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from floss_sim.documents import Section
from planner.forecasts.gain import STOP_SHARE
from planner.forecasts.intervals import Interval, is_vague
from planner.question.field_types import (
    Accuracy,
    AccuracyChange,
    Amount,
    Configuration,
    Count,
    Positive,
    PositiveInt,
)

EvidenceKind = Literal["measured", "forecast", "unknown"]
Axis = Literal[
    "rank", "down_density", "up_density", "cohort_size", "epochs", "values", "method", "depth",
    "client_lr", "server_lr", "options",
]  # fmt: skip


class Range(Section):
    """Forecast of an accuracy: the mean, and the ends of the interval, 0 to 1."""

    low: Accuracy
    mean: Accuracy
    high: Accuracy

    @model_validator(mode="after")
    def _check_order(self) -> Range:
        if not self.low <= self.mean <= self.high:
            raise ValueError("an interval's low, mean and high must ascend")
        return self

    @property
    def is_vague(self) -> bool:
        """Whether the interval is too wide to say anything: more than +-20 points."""
        return is_vague(self.low, self.high)

    @classmethod
    def of(cls, interval: Interval) -> Range:
        """Return the range of an interval."""
        return cls(low=interval.low, mean=interval.mean, high=interval.high)


class RoundTime(Section):
    """Mean duration of a round, and its breakdown for the client that reports last.

    Attributes:
        round_s: Mean simulated seconds of a round on the fleet of the network's seed.
        download: Share of the round in which the last client downloads bytes, 0 to 1.
        upload: Share of the round in which the last client uploads bytes, 0 to 1.
        latency: Share of the last client's round trips and connection setup, 0 to 1.
        compute: Share of the last client's local training, 0 to 1.
        queueing: Share in which the last client waits behind other transfers, 0 to 1.
        waiting: Mean share of a round in which a client that has reported waits for the others,
            0 to 1.
        framework: Share that a deployment framework adds by its polls and starts, 0 to 1; the other
            shares are those of the rest.
    """

    round_s: Amount
    download: Accuracy
    upload: Accuracy
    latency: Accuracy
    compute: Accuracy
    queueing: Accuracy
    waiting: Accuracy
    framework: Accuracy = 0.0


class Neighbour(Section):
    """Candidate that differs from the recommendation by one step in one axis.

    Attributes:
        axis: The axis that differs.
        candidate: The neighbour.
        rounds: Number of rounds that the budget affords the neighbour; 0 if it affords none.
        kind: ``measured`` up to the end of the budget, ``forecast`` or ``unknown``.
        accuracy: Validation accuracy, 0 to 1: measured, or the mean of the forecast; None if
            unknown.
        interval: Interval of a forecast; otherwise None.
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
            raise ValueError("an accuracy belongs to every kind but 'unknown'")
        if (self.kind == "forecast") != (self.interval is not None):
            raise ValueError("an interval belongs to kind 'forecast' and to no other kind")
        return self


class MoreBudget(Section):
    """Effect of 10 % more budget: the total number of rounds, and the accuracy forecast there.

    ``accuracy`` is None if the extra budget affords no further evaluated round, for example
    because the run already reaches the cap on rounds.
    """

    rounds: PositiveInt
    accuracy: Range | None = None


class StopRule(Section):
    """Value of more search: what the unfinished candidates are expected to gain.

    The rule, its sources and its assumptions are those of
    :attr:`planner.forecasts.gain.Gain.is_small`.

    Attributes:
        candidate: The unfinished candidate with the largest expected improvement.
        rounds: Rounds of training that would finish this candidate.
        gain: Expected improvement of this candidate over the best finished accuracy.
        noise: Standard error of one accuracy.
        forecast_mean: Accuracy that is forecast for this candidate, 0 to 1; None in older plans.
        forecast_sd: Standard deviation of this forecast, without variation between seeds.
        all_rounds: Rounds of training that would finish all unfinished candidates whose forecasts
            are not vague; None in older plans.
        all_gain: Expected improvement of the best of these, if their forecasts are independent.
    """

    candidate: Configuration
    rounds: PositiveInt
    gain: AccuracyChange
    noise: Amount
    forecast_mean: Accuracy | None = None
    forecast_sd: Positive | None = None
    all_rounds: PositiveInt | None = None
    all_gain: AccuracyChange | None = None

    @property
    def is_reached(self) -> bool:
        """Whether all candidates together promise so little that more search is not worth it."""
        return self.all_gain is not None and self.all_gain < STOP_SHARE * self.noise


class Explanation(Section):
    """Explanation of a plan: limits, round time, neighbours, value of more budget or search.

    Attributes:
        spent_on_uploads: Share of the spent budget that goes into uploads, 0 to 1; None for a
            budget of simulated time, which ``time`` breaks down instead.
        time: Mean duration of a round, and its breakdown.
        neighbours: Candidates one step away, on each axis.
        tenth: Effect of 10 % more budget; None if nothing can be forecast.
        stop: Value of more search; None if every candidate is finished or nothing can be forecast.
    """

    spent_on_uploads: Accuracy | None
    time: RoundTime
    neighbours: tuple[Neighbour, ...]
    tenth: MoreBudget | None = None
    stop: StopRule | None = None

    def target_part(self) -> Explanation:
        """Return the part that applies to a plan that ends at a target: uploads and round time."""
        return self.model_copy(update={"neighbours": (), "tenth": None, "stop": None})
