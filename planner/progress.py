"""How far a search has got, for those who wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a search has got.

    Attributes:
        stage: What is being done.
        done: Rounds of training that are done, baselines included.
        expected: Rounds that it takes at most; 0 where that is not known yet.
        runs: Candidates that were begun.
        best: Best smoothed validation accuracy so far, 0 to 1.
    """

    stage: str
    done: int = 0
    expected: int = 0
    runs: int = 0
    best: float | None = None

    def describe(self) -> str:
        """Return the best so far in a few words; nothing before there is one."""
        return "" if self.best is None else f"best {self.best:.3f}"

    def line(self) -> str:
        """Return all of it in a line, for a log."""
        best = f", {self.describe()}" if self.best is not None else ""
        rounds = f"{self.done} of at most {self.expected} rounds"
        return f"{self.stage}; {self.runs} runs begun, {rounds}{best}"


OnProgress = Callable[[Progress], None]
