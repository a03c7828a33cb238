"""Agreement of a run's two tables with each other, and range of their values.

Every sum of the rounds table is computed again from the transfers, so that missing, repeated or
changed rows are noticed even if their files have valid checksums.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_DIRECTIONS = ("down", "up", "first")
_AGGREGATED = "aggregated"
_FATES = (_AGGREGATED, "late", "cancelled", "dropped", "offline")
_COUNTS = (
    "sequence", "client", "version", "nbytes", "entries", "examples", "sent_bytes", "wire_bytes",
)  # fmt: skip


def check_rows(rounds: pa.Table, transfers: pa.Table, fleet: int | None) -> None:
    """Check that two tables can be those of one run.

    Args:
        rounds: Table whose rounds are numbered from 1.
        transfers: Table whose rounds are among them.
        fleet: Number of clients, if it is known.

    Raises:
        ValueError: They cannot; the message says where.
    """
    _check_rounds(rounds)
    _check_transfers(transfers, fleet)
    numbers = transfers["round"].to_numpy()
    if (np.diff(numbers) < 0).any():
        raise ValueError("the transfers table is not in the order of its rounds")
    ends = np.searchsorted(numbers, np.arange(rounds.num_rows + 1), side="right")
    if not np.diff(ends).all():
        raise ValueError(f"round {1 + int(np.diff(ends).argmin())} has no transfers")
    for name, values in _summands(transfers):
        sums = np.diff(np.concatenate(([0], np.cumsum(values, dtype=np.int64)))[ends])
        told = rounds[name].to_numpy()
        if (wrong := np.flatnonzero(sums != told)).size:
            first = int(wrong[0])
            raise ValueError(
                f"round {first + 1} has {name} {told[first]}, and its transfers {sums[first]}"
            )


def _check_rounds(rounds: pa.Table) -> None:
    if not np.array_equal(rounds["version"].to_numpy(), np.arange(1, rounds.num_rows + 1)):
        raise ValueError(f"the rounds did not make versions 1 to {rounds.num_rows}")
    for name in rounds.column_names:
        if not name.endswith("accuracy"):
            continue
        known = rounds[name].drop_null().to_numpy()
        if not ((known >= 0) & (known <= 1)).all():
            raise ValueError(f"the rounds table has values of {name} outside 0 to 1")


def _check_transfers(transfers: pa.Table, fleet: int | None) -> None:
    for name in _COUNTS:
        if (transfers[name].to_numpy() < 0).any():
            raise ValueError(f"the transfers table has negative values of {name}")
    if fleet is not None and (transfers["client"].to_numpy() >= fleet).any():
        raise ValueError(f"the transfers table has clients outside the fleet of {fleet}")
    if (transfers["version"].to_numpy() >= transfers["round"].to_numpy()).any():
        raise ValueError("a client downloaded a version that its round had yet to make")
    for name, valid in (("direction", _DIRECTIONS), ("fate", _FATES)):
        if not pc.all(pc.is_in(transfers[name], value_set=pa.array(valid))).as_py():
            raise ValueError(f"the transfers table has values of {name} besides {', '.join(valid)}")


def _summands(transfers: pa.Table) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield columns of the rounds table, and for each what every transfer adds to it."""
    sent = transfers["sent_bytes"].to_numpy()
    is_up = pc.equal(transfers["direction"], "up").to_numpy()
    is_kept = pc.equal(transfers["fate"], _AGGREGATED).to_numpy()
    yield "down_bytes", sent * ~is_up
    yield "up_bytes", sent * is_up
    yield "wasted_bytes", sent * ~is_kept
    yield "wire_bytes", transfers["wire_bytes"].to_numpy()
    yield "reports", is_up & is_kept
