"""Use of the prior over tasks by a search, as a plan states it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from planner.candidates import Candidate
from planner.curves import History
from planner.forecasts.forecast import prior_weight
from planner.plans.prior_section import PriorSection
from planner.question.request import Request
from planner.search import PRIOR_SEARCHES


def used_prior(
    request: Request,
    history: History,
    horizons: Mapping[Candidate, int],
    finished: Collection[Candidate],
) -> PriorSection | None:
    """Return the prior that a search used, with its weight; None if it used none.

    Args:
        request: The question.
        history: The curves that the search knows at its end.
        horizons: Rounds that the budget affords each candidate that was searched.
        finished: The runs that were trained to their ends.
    """
    prior, known = request.task_prior, request.prior
    if prior is None or known is None or request.search not in PRIOR_SEARCHES:
        return None
    favourite = prior.order(horizons)[0]
    examples = request.prediction_counts()["validation"]
    return PriorSection(
        grids=prior.names,
        left_out=tuple(grid.name for grid in known.grids if grid.name not in prior.names),
        weight=prior_weight(history, examples, max(horizons.values()), prior),
        favourite=favourite,
        favourite_rounds=horizons[favourite],
        finished=favourite in finished,
    )
