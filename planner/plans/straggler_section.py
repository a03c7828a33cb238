"""Straggler of a recommended run and its slow fleets, as sections of ``plan.json``."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from floss_sim.analysis.slow_fleets import SlowFleets
from floss_sim.analysis.stragglers import Straggler
from floss_sim.documents import Section
from floss_sim.network import ClientLink
from planner.question.field_types import Accuracy, Amount, Count, Positive, PositiveInt

_LINK = ("down_bits_per_s", "up_bits_per_s", "rtt_s", "compute_s_per_example")


class LinkSection(Section):
    """Rates, round trip and computing time of a client's link."""

    down_bits_per_s: Positive
    up_bits_per_s: Positive
    rtt_s: Amount
    compute_s_per_example: Amount

    def link(self) -> ClientLink:
        """Return a link with these values."""
        return ClientLink(**self.model_dump())


class StragglerSection(Section):
    """The client that decides how long the recommended run takes on the network's own fleet.

    The fields are those of :class:`floss_sim.analysis.stragglers.Straggler`, and the client's link.
    """

    client: Count
    rounds: PositiveInt
    all_rounds: PositiveInt
    round_s: Amount
    round_without_s: Amount
    run_s: Amount
    run_without_s: Amount
    deadline_s: Positive | None
    deadline_run_s: Amount | None
    deadline_lost: Accuracy | None
    cohort: PositiveInt
    selection_run_s: Amount | None
    link: LinkSection

    @classmethod
    def of(cls, straggler: Straggler, link: ClientLink) -> StragglerSection:
        """Return the section that describes a straggler with a link."""
        rates = {name: getattr(link, name) for name in _LINK}
        return cls(**straggler.to_json(), link=LinkSection(**rates))

    def sentences(self) -> list[str]:
        """Return who decides the time, and what would remove it."""
        values = {field.name: getattr(self, field.name) for field in fields(Straggler)}
        return Straggler(**values).sentences(self.link.link())

    def to_json(self) -> dict[str, Any]:
        """Return the straggler as plain values."""
        return self.model_dump(mode="json")


class SlowFleetsSection(Section):
    """Fleets on which a single client takes more than half of the recommended run's time.

    The fields are those of :class:`floss_sim.analysis.slow_fleets.SlowFleets`.
    """

    fleets: PositiveInt
    draws: PositiveInt
    worst_link: LinkSection

    @classmethod
    def of(cls, found: SlowFleets) -> SlowFleetsSection:
        """Return the section that describes slow fleets."""
        return cls(**found.to_json())

    @property
    def text(self) -> str:
        """How many fleets, and the link of the worst client."""
        return SlowFleets(self.fleets, self.draws, self.worst_link.link()).text

    def to_json(self) -> dict[str, Any]:
        """Return the slow fleets as plain values."""
        return self.model_dump(mode="json")
