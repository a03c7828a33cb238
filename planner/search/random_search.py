"""Random search: trains random candidates to their horizons."""

from __future__ import annotations

from dataclasses import dataclass

from planner.search.scripted import EffortLedger, Script, ScriptedStrategy


@dataclass(frozen=True)
class RandomSearch(ScriptedStrategy):
    """Random search: random candidates are trained to their horizons until the effort is spent."""

    def script(self) -> Script:
        """Finish candidates in a random order."""
        yield from EffortLedger(self).finish(self.affordable_candidates())
