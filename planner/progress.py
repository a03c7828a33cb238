"""Progress of a search: stage, rounds done and expected, runs, best accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Progress of a search.

    Attributes:
        stage: Description of the current stage.
        done: Finished rounds of training, baselines included.
        expected: Most rounds that the search will take; 0 if not known yet.
        runs: Number of runs started, baselines included.
        best: Best smoothed validation accuracy so far, 0 to 1; None before the first evaluation.
        left_s: Seconds of training that are left; None if the effort is no time.
        warning: Sentence to show at once, which is said only in this call; empty if there is none.
    """

    stage: str
    done: int = 0
    expected: int = 0
    runs: int = 0
    best: float | None = None
    left_s: float | None = None
    warning: str = ""

    def describe(self) -> str:
        """Return the best accuracy so far in words; empty if there is none."""
        return "" if self.best is None else f"best {self.best:.3f}"

    def line(self) -> str:
        """Return the whole progress in one line, for a log."""
        if not self.expected:
            return self.stage
        best = f", {self.describe()}" if self.best is not None else ""
        rounds = f"{self.done} of at most {self.expected} rounds"
        return f"{self.stage}; {self.runs} runs begun, {rounds}{best}"


OnProgress = Callable[[Progress], None]
