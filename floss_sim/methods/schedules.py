"""Schedules: selectors that change with the version, the client or the dispatch.

A method whose messages change from round to round has a schedule in the place of a selector.
:func:`selector_at` is the only place where a schedule becomes a selector.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

from floss_sim.methods.selectors import Selector
from floss_sim.vectors.layout import Layout


class Moment(NamedTuple):
    """Place of a message in a run, known to both ends.

    Attributes:
        version: Version of the global adapter that the client downloads.
        sequence: Number of the dispatch in the run.
    """

    version: int
    sequence: int = 0


@runtime_checkable
class Schedule(Protocol):
    """Interface of a rule that gives the selector of each moment."""

    @property
    def density(self) -> float | None:
        """Fraction of the entries kept; None if it depends on the layout or the moment."""

    def at(self, moment: Moment) -> Selector:
        """Return the selector of a moment."""

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain values for fingerprints."""

    def describe(self) -> str:
        """Return a short description, such as ``1 of B and A in turns``."""


@runtime_checkable
class DrawnByDispatch(Protocol):
    """Interface of a selector that may draw a mask for each dispatch."""

    @property
    def by_dispatch(self) -> bool:
        """Whether each dispatch has a mask of its own; otherwise each version has."""

    def scale(self, layout: Layout) -> float:
        """Return the factor of LoRA's scale in training."""


def selector_at(selector: Selector | Schedule, moment: Moment) -> Selector:
    """Return the selector of a moment; a selector without a schedule is the same at all times."""
    return selector.at(moment) if isinstance(selector, Schedule) else selector
