"""Further seeds: how much effort is kept for them, and which runs are repeated.

The best of many runs is flattered by its own luck. Therefore the finalists, which are the best
finished runs, and the baselines are trained with further seeds. Accuracies are averaged over seeds,
so that a run that was only lucky is no finalist any more, and another takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from planner.candidates import Candidate
from planner.forecasts.intervals import Interval
from planner.question.request import FURTHER_SEEDS

FINALISTS = 2  # runs that are repeated
_MOST = 0.6  # fraction of the effort that is kept for seeds, at most
# Rounds that the search has before any are kept for seeds, whichever is more:
_SEARCH_SHARE = 0.05  # fraction of the full grid's rounds
_SEARCH_RUNS = 3  # average runs

RepeatTerms = tuple[
    Mapping[Candidate, Interval],
    Mapping[Candidate, int],
    Mapping[Candidate, int],
    int,
    Sequence[Candidate],
]
"""Arguments of :func:`next_repeats` in their order."""


def rounds_for_seeds(
    effort: int, horizons: Iterable[int], baselines: Iterable[int] = (), others: int = 0
) -> int:
    """Return the rounds of an effort that are reserved for further seeds, and for other methods.

    They suffice for an average run of each other method, and for ``FURTHER_SEEDS`` seeds of the
    baselines and of ``FINALISTS`` average runs, as far as the search keeps ``_SEARCH_RUNS`` average
    runs, the fraction ``_SEARCH_SHARE`` of the full grid's rounds, and what ``_MOST`` leaves of the
    effort: with less, trying further candidates gives more information. What they leave to the
    search never falls with the effort.

    Args:
        effort: Rounds of training for the search and the further seeds together.
        horizons: Rounds of a whole run of each candidate.
        baselines: Rounds of a whole run of each baseline.
        others: Methods that are searched besides the first one.
    """
    every = list(horizons)
    finalists = FINALISTS * fmean(every)
    spare = effort - max(_SEARCH_RUNS * fmean(every), _SEARCH_SHARE * sum(every))
    wanted = FURTHER_SEEDS * (finalists + sum(baselines)) + others * fmean(every)
    kept = min(wanted, spare, _MOST * effort)
    return max(0, math.floor(kept))


def rounds_of_repeats(
    known: Mapping[Candidate, Interval],
    seeds: Mapping[Candidate, int],
    rounds: Mapping[Candidate, int],
    left: int,
    baselines: Sequence[Candidate] = (),
) -> int:
    """Return the rounds that all repeats take if the finalists stay the same.

    The arguments are those of :func:`next_repeats`.
    """
    before, made = left, dict(seeds)
    while chosen := next_repeats(known, made, rounds, left, baselines):
        for candidate in chosen:
            made[candidate] = made.get(candidate, 0) + 1
            left -= rounds[candidate]
    return before - left


def next_repeats(
    known: Mapping[Candidate, Interval],
    seeds: Mapping[Candidate, int],
    rounds: Mapping[Candidate, int],
    left: int,
    baselines: Sequence[Candidate] = (),
) -> list[Candidate]:
    """Return the runs to repeat with their next seed; empty if none is left or affordable.

    They are the finalists, by the accuracies known so far, and then the baselines, as far as they
    lack seeds and the remaining rounds suffice. Baselines take only what the later seeds of the
    finalists leave. A baseline is listed once for each seed that it lacks: all of them can be
    trained at a time, because nothing is chosen by them.

    Args:
        known: Accuracy intervals of the finished runs that may be recommended.
        seeds: Number of further seeds of each run; runs without one may lack.
        rounds: Rounds of each run.
        left: Remaining rounds of the effort.
        baselines: Baselines with finished runs.
    """
    finalists = sorted(known, key=lambda c: (-known[c].mean, c))[:FINALISTS]
    lacking = {
        c: max(0, FURTHER_SEEDS - seeds.get(c, 0)) for c in dict.fromkeys([*finalists, *baselines])
    }
    steps = {c: lacking[c] if c in baselines else min(lacking[c], 1) for c in finalists}
    chosen, left = _affordable(steps, rounds, left)
    _, left = _affordable({c: lacking[c] - n for c, n in steps.items()}, rounds, left)
    others = {c: n for c, n in lacking.items() if c not in steps}
    return chosen + _affordable(others, rounds, left)[0]


def _affordable(
    counts: Mapping[Candidate, int], rounds: Mapping[Candidate, int], left: int
) -> tuple[list[Candidate], int]:
    """Return as many runs of each candidate as ``left`` rounds take, and the rounds then left."""
    chosen: list[Candidate] = []
    for candidate, count in counts.items():
        fit = min(count, left // rounds[candidate])
        chosen += [candidate] * fit
        left -= fit * rounds[candidate]
    return chosen, left
