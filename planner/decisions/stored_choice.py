"""Choice among stored curves: measured runs against forecasts, and runs to stop early."""

from __future__ import annotations

from collections.abc import Mapping

from planner.candidates import Candidate
from planner.decisions.recommend import deviation, rank
from planner.forecasts.intervals import Interval

FAR_ENOUGH = 1 / 3  # of its way: from there on forecasts rarely miss that a run collapses


def best_stored_candidate(
    known: Mapping[Candidate, Interval],
    nbytes: Mapping[Candidate, float],
    gone: Mapping[Candidate, float],
) -> Candidate | None:
    """Return the best of what is measured to the end and what is forecast; None of nothing.

    Of measured runs, the one that a plan would recommend. A forecast is preferred only if it
    promises more than all of them by its own standard deviation, or by two of a run that has not
    gone a third of the way: the best of many forecasts flatters itself.

    Args:
        known: Where accuracies lie.
        nbytes: Bytes that each measured one takes.
        gone: The share of its way that each run has gone; what is not named has not begun.
    """
    seen = {c: interval for c, interval in known.items() if interval.kind == "measured"}
    doubts = {c: 1 if gone.get(c, 0) >= FAR_ENOUGH else 2 for c in known.keys() - seen.keys()}
    sure = {c: known[c].mean - doubts[c] * deviation(known[c]) for c in doubts}
    likely = max(sorted(sure), key=sure.__getitem__, default=None)
    if not seen:
        return likely
    ranking = rank(seen, nbytes)
    return likely if likely and sure[likely] > ranking.best else ranking.order[0]


def best_early_stop(
    known: Mapping[Candidate, Interval], nbytes: Mapping[Candidate, float], best: Interval | None
) -> Candidate | None:
    """Return the run that does best to stop where it is measured; None where going on is better.

    Args:
        known: Where accuracies lie at the ends of runs that the budget would take further.
        nbytes: Bytes that each of them takes.
        best: Where the accuracy of the best at the budget's end lies, if one is known.
    """
    if not known:
        return None
    ranking = rank(known, nbytes)
    return ranking.order[0] if best is None or ranking.best > best.mean else None
