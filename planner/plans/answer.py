"""Answer for one cell (a network and a budget), from stored curves alone."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from floss_sim.documents import Section
from floss_sim.errors import BudgetError
from planner.plans.explanation import EvidenceKind, Range
from planner.plans.spent_privacy import SpentPrivacy
from planner.plans.time_section import TimeSection
from planner.plans.usage_section import UsageSection
from planner.question.budget import parse_budget
from planner.question.field_types import Accuracy, Amount, Configuration, Count, OneLine


class Answer(Section):
    """Best candidate of a cell, by stored curves.

    Attributes:
        network: Name of the cell's network.
        budget: The cell's budget, as given.
        limit: The cell's budget in words.
        kind: ``measured``: a stored run reaches the end of the budget and no forecast is better,
            or a stored run is best stopped where it ends. ``forecast``: a forecast is better, or
            no stored run reaches the end of the budget. ``unknown``: there is no stored curve, and
            no prior over tasks.
        from_tasks: Names of the grids recorded on other tasks from which the answer is forecast,
            as nothing of this task is stored; otherwise empty.
        candidate: The best candidate; None if unknown.
        rounds: Number of rounds to train the best candidate.
        affords: Number of rounds that the budget affords the best candidate; larger than
            ``rounds`` if it is best stopped earlier.
        accuracy: Expected validation accuracy, 0 to 1, the mean of ``interval``; None if unknown.
        interval: Interval of the accuracy, measured or forecast; None if unknown.
        simulated_s: Simulated seconds within which ``rounds`` rounds end with the budget's
            confidence, by default in the median of fleets; None if unknown.
        time: Simulated time of these rounds over the fleets that the network may draw; None if
            unknown.
        traffic_alone: Whether the network has no round trip and no compute.
        total_bytes: Bytes of all transfers in ``rounds`` rounds; None if unknown.
        total_bytes_error: Relative error that such predictions had on recorded runs, of a
            forecast; otherwise None.
        usage: What these rounds take from devices, in energy and in money, of a forecast by its
            predicted messages; None if unknown, and in plans of earlier versions.
        privacy: The epsilon that ``rounds`` rounds spend; None if unknown, and without privacy.
        confirm_rounds: Rounds of training that would turn a forecast into a measurement, or that
            would tell what a run that is best stopped may still reach where its forecasts say
            nothing; if unknown, the fewest that would finish any candidate.
        confirm_s: Host seconds of ``confirm_rounds``, estimated from stored rounds; None without
            such an estimate.
        measured: Number of candidates whose stored curves reach the end of the budget.
        searched: Number of candidates that can afford a round.
        chance: Accuracy of always predicting the most frequent class; None in plans of earlier
            versions.
        learned: Whether the accuracy exceeds it by two standard errors.
        skipped: Number of stored runs that cannot be read.
    """

    network: OneLine
    budget: OneLine
    limit: OneLine
    kind: EvidenceKind
    from_tasks: tuple[OneLine, ...] = ()
    candidate: Configuration | None = None
    rounds: Count = 0
    affords: Count = 0
    accuracy: Accuracy | None = None
    interval: Range | None = None
    simulated_s: Amount | None = None
    time: TimeSection | None = None
    traffic_alone: bool = False
    total_bytes: Amount | None = None
    total_bytes_error: Amount | None = None
    usage: UsageSection | None = None
    privacy: SpentPrivacy | None = None
    confirm_rounds: Count = 0
    confirm_s: Amount | None = None
    measured: Count = 0
    searched: Count = 0
    chance: Accuracy | None = None
    learned: bool = True
    skipped: Count = 0

    @model_validator(mode="after")
    def _check_kind(self) -> Answer:
        known = self.kind != "unknown"
        told = (
            self.candidate, self.accuracy, self.interval, self.simulated_s, self.total_bytes
        )  # fmt: skip
        if known != all(value is not None for value in told):
            raise ValueError(
                "candidate, accuracy, interval, simulated_s and total_bytes belong to all kinds "
                "but 'unknown'"
            )
        for what, value in (("a time", self.time), ("a usage", self.usage)):
            if value and not known:
                raise ValueError(f"{what} belongs to all kinds but 'unknown'")
        if self.from_tasks and (self.kind != "forecast" or self.measured):
            raise ValueError("from_tasks belongs to forecasts of a task without a measured run")
        return self

    @model_validator(mode="after")
    def _check_budget(self) -> Answer:
        try:
            parse_budget(self.budget)
        except BudgetError as error:
            raise ValueError(str(error)) from None
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the answer as plain values."""
        return self.model_dump(mode="json")
