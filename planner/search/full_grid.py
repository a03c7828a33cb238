"""Full grid search: trains every candidate to its horizon."""

from __future__ import annotations

from dataclasses import dataclass

from floss_sim.errors import BudgetError
from planner.search.scripted import EffortLedger, Script, ScriptedStrategy


@dataclass(frozen=True)
class FullGrid(ScriptedStrategy):
    """Full grid search: every candidate is trained to its horizon, in sorted order.

    Raises:
        BudgetError: The effort does not suffice for all candidates (``--effort 1`` does).
    """

    def __post_init__(self) -> None:
        rounds = sum(self.horizons.values())
        if self.effort < rounds:
            raise BudgetError(
                f"--search grid trains all {len(self.horizons)} candidates for {rounds} rounds, "
                f"but the effort is {self.effort} rounds; give --effort 1 or another --search"
            )

    def script(self) -> Script:
        """Finish all candidates in sorted order."""
        yield from EffortLedger(self).finish(sorted(self.horizons))
