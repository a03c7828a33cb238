"""The answer for one cell, that is, a network and a budget, from stored curves alone."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from floss_sim.documents import Section
from planner.plans.explanation import EvidenceKind, Range
from planner.question.field_types import Accuracy, Amount, Configuration, Count, OneLine


class Answer(Section):
    """What is best in a cell as far as stored curves tell.

    Attributes:
        network: The cell's network.
        budget: Its budget, as given.
        limit: The same in words.
        kind: ``measured``: a stored run reaches the end of the budget there, and no forecast is
            better, or one does best to stop where it ends. ``forecast``: one is better, or no run
            gets so far. ``unknown``: no stored curve.
        candidate: The best; None where it is unknown.
        rounds: Rounds that it takes.
        affords: Rounds that the budget affords it; more where it does best to stop before.
        accuracy: Validation accuracy, measured or the mean that is forecast.
        interval: Of a forecast.
        simulated_s: Simulated time that these rounds take, seconds.
        total_bytes: Bytes that they take.
        confirm_rounds: Rounds of training that would make a measurement of it; of what is
            unknown, the fewest that would finish any candidate.
        confirm_s: Host seconds that they take, by what stored rounds took; None where nothing
            tells.
        measured: How many candidates stored curves measure to the end.
        searched: How many can afford a round.
        skipped: Stored runs that cannot be read.
    """

    network: OneLine
    budget: OneLine
    limit: OneLine
    kind: EvidenceKind
    candidate: Configuration | None = None
    rounds: Count = 0
    affords: Count = 0
    accuracy: Accuracy | None = None
    interval: Range | None = None
    simulated_s: Amount | None = None
    total_bytes: Amount | None = None
    confirm_rounds: Count = 0
    confirm_s: Amount | None = None
    measured: Count = 0
    searched: Count = 0
    skipped: Count = 0

    @model_validator(mode="after")
    def _check_kind(self) -> Answer:
        known = self.kind != "unknown"
        told = (self.candidate, self.accuracy, self.simulated_s, self.total_bytes)
        if known != all(value is not None for value in told):
            raise ValueError("candidate, accuracy, seconds and bytes are told of what is known")
        if (self.kind == "forecast") != (self.interval is not None):
            raise ValueError("a forecast, and nothing else, has an interval")
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the answer as plain values."""
        return self.model_dump(mode="json")
