"""What a plan says of the prior over tasks that its search used."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from floss_sim.documents import OneFullLine, Section
from planner.question.field_types import Configuration, PositiveInt


class PriorSection(Section):
    """The prior over tasks of a search.

    Attributes:
        grids: Names of the recorded grids that counted.
        left_out: Names of those that did not, as they have the task's own backbone.
        weight: How far the search's own curves agreed with the prior at its end. 1: runs differ as
            on the other tasks; 0: the curves say nothing of that; below 0: they differ otherwise.
        favourite: The candidate that the prior alone favours.
        favourite_rounds: Rounds that the budget affords it, as predicted.
        finished: Whether the search has trained it to its end.
    """

    grids: Annotated[tuple[OneFullLine, ...], Field(min_length=1)]
    left_out: tuple[OneFullLine, ...] = ()
    weight: Annotated[float, Field(ge=-100, le=100)]
    favourite: Configuration
    favourite_rounds: PositiveInt
    finished: bool

    @model_validator(mode="after")
    def _check_grids(self) -> PriorSection:
        names = [*self.grids, *self.left_out]
        if len(set(names)) < len(names):
            raise ValueError("a grid counts or is left out, once")
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the section as plain values."""
        told = self.model_dump(mode="json", exclude={"favourite"})
        return {**told, "favourite": self.favourite.settings()}
