"""Choice among stored curves: the best measured or forecast run, or a run to stop early."""

from __future__ import annotations

from collections.abc import Mapping

from planner.candidates import Candidate
from planner.decisions.recommend import deviation, rank
from planner.forecasts.intervals import Interval

FAR_ENOUGH = 1 / 3  # fraction of a horizon: forecasts of longer runs rarely miss a collapse


def best_stored_candidate(
    known: Mapping[Candidate, Interval],
    nbytes: Mapping[Candidate, float],
    gone: Mapping[Candidate, float],
) -> Candidate | None:
    """Return the best candidate at the budget's end, measured or forecast; None without any.

    Of the runs measured to the end, the choice is the one that a plan would recommend. A forecast
    is preferred only if it exceeds all of them by more than its standard deviation, or by more
    than two for a run trained for less than ``FAR_ENOUGH`` of its horizon. The reason is that the
    maximum of many noisy forecasts is biased upwards.

    Args:
        known: Accuracy intervals at the budget's end, measured or forecast.
        nbytes: Bytes of each measured run.
        gone: Fraction of its horizon that each run was trained for; a missing candidate counts
            as 0.
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
    """Return the best run to stop at its last measured round; None if going on is better.

    Args:
        known: Accuracy intervals at the last measured rounds of runs that the budget would take
            further.
        nbytes: Bytes of each of these runs up to that round.
        best: Accuracy interval of the best candidate at the budget's end; None if none is known.
    """
    if not known:
        return None
    ranking = rank(known, nbytes)
    return ranking.order[0] if best is None or ranking.best > best.mean else None
