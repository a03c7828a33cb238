"""The full grid."""

from __future__ import annotations

from dataclasses import dataclass

from floss_sim.errors import BudgetError
from planner.search.scripted import EffortLedger, Script, ScriptedStrategy


@dataclass(frozen=True)
class FullGrid(ScriptedStrategy):
    """Every candidate, in order, trained to its horizon: an effort of 1, no less."""

    def __post_init__(self) -> None:
        rounds = sum(self.horizons.values())
        if self.effort < rounds:
            raise BudgetError(
                f"a grid trains all {len(self.horizons)} candidates, {rounds} rounds, and the "
                f"effort is {self.effort}; give --effort 1, or another --search"
            )

    def script(self) -> Script:
        """Finish all candidates in order."""
        yield from EffortLedger(self).finish(sorted(self.horizons))
