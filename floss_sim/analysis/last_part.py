"""Last part of a learning curve: the evaluated rounds whose models stand for a run's end.

One evaluation is noisy, and so is the model that it evaluates: training moves it from round to
round. Validation and test accuracy are therefore means over the models of the last part.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

SMOOTHED_SHARE = 0.15  # fraction of a curve's rounds: the last ones are averaged
LAST_COLUMN = "last eval."  # of tables of recorded runs
LAST_LEGEND = (
    f"{LAST_COLUMN}: validation accuracy of one evaluation, the last one, as a mean over seeds; it "
    "is noisy, so that floss-sim run and plans average those of the last "
    f"{100 * SMOOTHED_SHARE:.0f} % of rounds"
)


def part_text(models: int) -> str:
    """Return what an accuracy is the mean of, given the number of models of the last part."""
    return "the last evaluation" if models == 1 else f"mean of the last {models} evaluations"


def last_part(evaluated: Sequence[int], rounds: int) -> Sequence[int]:
    """Return the evaluated rounds in the last ``SMOOTHED_SHARE`` of the first ``rounds`` rounds.

    If that part has no evaluation, the last one before it is returned, for short curves.

    Args:
        evaluated: Evaluated rounds, ascending.
        rounds: Length of the curve in rounds; later evaluations are ignored.

    Raises:
        ValueError: There is no evaluation in the first ``rounds`` rounds.
    """
    end = bisect_right(evaluated, rounds)
    if not end:
        raise ValueError(f"no evaluation in the first {rounds} rounds")
    start = bisect_right(evaluated, (1 - SMOOTHED_SHARE) * rounds)
    return evaluated[min(start, end - 1) : end]
