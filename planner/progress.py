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
        """Return what is known so far in a few words."""
        best = "" if self.best is None else f", best {self.best:.3f}"
        return f"{self.runs} runs{best}"


OnProgress = Callable[[Progress], None]
