"""Cheaper ways: what a half, a quarter and a tenth of the plan's bytes would reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from planner.candidates import Candidate
from planner.forecasts.intervals import Interval, Point
from planner.plans.cheaper_way import SHARES, CheaperWay
from planner.question.objective import IntervalsAt


@dataclass(frozen=True)
class MeasuredRun:
    """A run of the search within the budget.

    Attributes:
        evaluated: Evaluated rounds within the budget, ascending.
        nbytes: Bytes of all transfers up to these rounds.
    """

    evaluated: Sequence[int]
    nbytes: Sequence[int]


def cheaper_ways(
    total_bytes: int, runs: Mapping[Candidate, MeasuredRun], intervals_at: IntervalsAt
) -> tuple[CheaperWay, ...]:
    """Return the run with the best expected accuracy within each share of the plan's bytes.

    Largest share first. A run that is the best within a smaller share, too, is named for the
    smallest one only.

    Args:
        total_bytes: Bytes of the recommended plan.
        runs: The runs of the search.
        intervals_at: Returns the interval of each candidate's accuracy at a measured round.
    """
    points = dict(_points(SHARES[0] * total_bytes, runs))
    made = intervals_at(points)
    found = (_best_within(share, share * total_bytes, points, made) for share in SHARES)
    ways = [way for way in found if way]
    kept = [a for a, b in pairwise(ways) if (a.candidate, a.rounds) != (b.candidate, b.rounds)]
    return (*kept, *ways[-1:])


def _points(nbytes: float, runs: Mapping[Candidate, MeasuredRun]) -> Iterator[tuple[Point, int]]:
    """Yield the evaluated rounds of all runs within some bytes, each with its bytes."""
    for candidate, run in runs.items():
        for round_, spent in zip(run.evaluated, run.nbytes, strict=True):
            if spent <= nbytes:
                yield (candidate, round_), spent


def _best_within(
    share: float, nbytes: float, points: Mapping[Point, int], made: Mapping[Point, Interval]
) -> CheaperWay | None:
    """Return the point of the best expected accuracy within some bytes; of equal ones the cheapest.

    None if nothing is affordable.
    """
    affordable = [point for point, spent in points.items() if spent <= nbytes and point in made]
    if not affordable:
        return None
    best = min(affordable, key=lambda point: (-made[point].mean, points[point], point))
    return CheaperWay(share, *best, points[best], made[best])
