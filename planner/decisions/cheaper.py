"""Cheaper ways: what a half, a quarter and a tenth of the plan's bytes would reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from planner.candidates import Candidate
from planner.forecasts.intervals import Interval
from planner.forecasts.smoothing import smoothed_accuracy
from planner.plans.cheaper_way import SHARES, CheaperWay

Intervals = Callable[[Mapping[Candidate, int]], Mapping[Candidate, Interval]]


@dataclass(frozen=True)
class MeasuredRun:
    """A run of the search within the budget.

    Attributes:
        evaluated: Evaluated rounds within the budget, ascending.
        accuracies: Validation accuracy at these rounds, 0 to 1.
        nbytes: Bytes of all transfers up to these rounds.
    """

    evaluated: Sequence[int]
    accuracies: Sequence[float]
    nbytes: Sequence[int]

    def best_within(self, nbytes: float) -> int | None:
        """Return the round of the best smoothed accuracy within some bytes, or None."""
        affordable = [
            r for r, spent in zip(self.evaluated, self.nbytes, strict=True) if spent <= nbytes
        ]
        return max(affordable, key=self._smoothed, default=None)

    def _smoothed(self, round_: int) -> float:
        return smoothed_accuracy(self.evaluated, self.accuracies, round_)


def cheaper_ways(
    total_bytes: int, runs: Mapping[Candidate, MeasuredRun], intervals: Intervals
) -> tuple[CheaperWay, ...]:
    """Return the run with the best expected accuracy within each share of the plan's bytes.

    Largest share first. A run that is the best within a smaller share, too, is named for the
    smallest one only.

    Args:
        total_bytes: Bytes of the recommended plan.
        runs: The runs of the search.
        intervals: Returns the interval of each candidate's accuracy at a measured round.
    """
    found = (_best_within(share, total_bytes, runs, intervals) for share in SHARES)
    ways = [way for way in found if way]
    kept = [a for a, b in pairwise(ways) if (a.candidate, a.rounds) != (b.candidate, b.rounds)]
    return (*kept, *ways[-1:])


def _best_within(
    share: float, total_bytes: int, runs: Mapping[Candidate, MeasuredRun], intervals: Intervals
) -> CheaperWay | None:
    rounds = {c: run.best_within(share * total_bytes) for c, run in runs.items()}
    asked = {c: round_ for c, round_ in rounds.items() if round_}
    if not asked:
        return None
    made = intervals(asked)
    best = max(sorted(asked), key=lambda c: made[c].mean)
    run = runs[best]
    nbytes = run.nbytes[run.evaluated.index(asked[best])]
    return CheaperWay(share, best, asked[best], nbytes, made[best])
