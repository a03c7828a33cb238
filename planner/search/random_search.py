"""Random search."""

from __future__ import annotations

from dataclasses import dataclass

from planner.search.scripted import EffortLedger, Script, ScriptedStrategy


@dataclass(frozen=True)
class RandomSearch(ScriptedStrategy):
    """Random candidates, each trained to its horizon, till the effort ends."""

    def script(self) -> Script:
        """Finish candidates in a random order."""
        yield from EffortLedger(self).finish(self.affordable_candidates())
