"""Schema of ``request`` in ``plan.json``: the question that a plan answers."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, model_validator

from floss_sim.documents import Section
from floss_sim.errors import ConfigError
from planner.question.field_types import (
    Accuracy,
    Amount,
    Count,
    OneLine,
    Positive,
    PositiveInt,
)
from planner.question.origin import Origin
from planner.question.privacy import Privacy


class OpenSection(Section):
    """A table of which a plan needs only some keys; further keys are allowed."""

    model_config = ConfigDict(extra="allow")


class JudgedSection(Section):
    """``judged``: kind of the predictions, and their number by split."""

    what: OneLine
    validation: PositiveInt
    test: PositiveInt


class ObjectiveSection(Section):
    """``objective``: kind of the objective, and the accuracy of a target."""

    kind: Literal["accuracy", "target", "pareto"]
    target: Accuracy | None


class FleetSection(OpenSection):
    """``fleet``: the partition of the training examples over the clients."""

    clients: PositiveInt


class PrivacySection(Section):
    """``privacy`` of the request: clip and noise of all runs, and the epsilon at which they end."""

    clip: Positive | None = None
    noise: Amount
    trust: OneLine
    delta: Positive
    max_epsilon: Positive | None = None

    @model_validator(mode="after")
    def _check_values(self) -> PrivacySection:
        try:
            Privacy.of_json(self.model_dump(exclude_none=True))
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self


class RequestSection(OpenSection):
    """``request``: the question that the plan answers."""

    task: OneLine
    network: OneLine
    reference_rank: PositiveInt
    max_rounds: PositiveInt
    search: OneLine
    seed: Count
    judged: JudgedSection
    objective: ObjectiveSection | None = None
    effort: Accuracy | None = None
    training_s: Positive | None = None
    candidates: PositiveInt | None = None
    validation_examples: PositiveInt | None = None
    test_examples: PositiveInt | None = None
    fleet: FleetSection | None = None
    max_client_bytes: Positive | None = None
    max_round_s: Positive | None = None
    lr_test: bool | None = None
    tune_lr: bool | None = None
    method_axes: dict[OneLine, dict[OneLine, tuple[float, ...]]] | None = None
    left_out_methods: dict[OneLine, OneLine] | None = None
    accuracy: Literal["own"] | None = None
    privacy: PrivacySection | None = None
    origin: Origin | None = None
