"""Columns and legends of the clients' own models in tables of recorded runs.

They stand only in tables in which a run has them.
"""

from __future__ import annotations

from collections.abc import Sequence

from floss_sim.analysis.comparison import Configuration, CurvePoint
from floss_sim.runs.own_data import own_data_text

OWN_COLUMN, OWN_TEST_COLUMN = "own", "own test"


def own_legend(configurations: Sequence[Configuration], points: Sequence[CurvePoint | None]) -> str:
    """Return what the own accuracies of a table are; empty if no point has one.

    Args:
        configurations: The configurations of the rows.
        points: The point of each row.
    """
    has = [point is not None and point.own_accuracy is not None for point in points]
    if not any(has):
        return ""
    laws = {run.partition for one in configurations for run in one.runs}
    text = "; ".join(own_data_text(law) for law in sorted(laws))
    lacking = "" if all(has) else "; -: not measured (floss-sim run --own-accuracy does)"
    return f"{OWN_COLUMN}: {text}{lacking}"


def own_cell(point: CurvePoint | None) -> str:
    """Return the own accuracy of a point as a cell."""
    own = None if point is None else point.own_accuracy
    return "-" if own is None else f"{own:.3f}"
