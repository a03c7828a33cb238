"""Predicted bytes of a backbone's change in a download, after some missed rounds.

Both forms, the factors of each missed round and the adapted weights, are predicted from the shapes
alone; the smaller one is sent. Values are taken as normally distributed. Who will reply is not
known: every round is counted with the factors of a whole cohort.
"""

from __future__ import annotations

from functools import lru_cache

from floss_sim.methods.factor_messages import RANK_BYTES, bundle_overhead
from floss_sim.methods.method import Method
from floss_sim.methods.rank_selectors import adapters
from floss_sim.vectors.layout import Layout
from floss_sim.wire import predict_nbytes


@lru_cache(maxsize=4096)
def change_size(method: Method, layout: Layout, cohort: int, missed: int) -> tuple[int, int]:
    """Return the predicted bytes and entries that a download has for the backbone's change.

    Args:
        method: Method with a change of the backbone.
        layout: Layout of the run; only its adapters count.
        cohort: Clients whose uploads the server receives in a round.
        missed: Rounds since the version that the client holds.
    """
    if missed == 0:
        return bundle_overhead(0), 0
    each, entries = _factors_size(method, layout, cohort)
    factors = bundle_overhead(missed) + missed * each
    weights = sum(b.shape[0] * a.shape[1] for a, b in adapters(layout))
    dense = bundle_overhead(1) + predict_nbytes(weights, weights, method.down_values)
    return (factors, missed * entries) if factors <= dense else (dense, weights)


@lru_cache(maxsize=256)
def _factors_size(method: Method, layout: Layout, cohort: int) -> tuple[int, int]:
    """Return the predicted bytes and entries of the factors of one round."""
    change = method.backbone_change
    assert change is not None  # noqa: S101 - for the type checker: the caller has such a method
    entries, modules = 0, 0
    for a, b in adapters(layout):
        rows, columns = b.shape[0], a.shape[1]
        entries += change.rank(cohort, a.shape[0], (rows, columns)) * (rows + columns)
        modules += 1
    values = predict_nbytes(entries, entries, method.down_values) if entries else 0
    return RANK_BYTES * modules + values, entries
