"""Arrays of a snapshot: a learner refuses a snapshot of another layout or optimiser.

Shapes: N adapter entries, C clients, K masks that clients hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import RecordError
from floss_sim.methods.backbone_exchange import HELD_VERSION, STEP
from floss_sim.protocol import Snapshot
from floss_sim.runs.config import RunConfig
from floss_sim.training.learners.snapshot_values import check_values

_ADAM = ("exp_avg", "exp_avg_sq", "step")
_MOMENTS = {"fedadam": _ADAM, "fedadamw": _ADAM, "fedavg": (), "fedavgm": ("momentum_buffer",)}
_ADAPTIVE = ("exp_avg", "exp_avg_sq")  # of the other optimisers
_ALL_MOMENTS = {*_ADAM, "momentum_buffer"}
Expected = tuple[tuple[int, ...], type[np.generic]]


def check_arrays(snapshot: Snapshot, config: RunConfig) -> None:
    """Check that a snapshot has the arrays of a run, in their shapes and types, with valid values.

    Raises:
        RecordError: An array is missing, unknown, of another shape, or has values that no run has;
            the message names it.
    """
    expected = dict(_expected_arrays(snapshot, config))
    for name, (shape, kind) in expected.items():
        _check_array(name, snapshot.tensors.get(name), shape, kind)
    strange = sorted(name for name in snapshot.tensors if name in _ALL_MOMENTS - expected.keys())
    if strange:
        averages = config.method.server_averages
        what = "averaging" if averages else f"optimizer {config.server.optimizer}"
        raise RecordError(
            f"the checkpoint has {strange[0]!r}, which {what} lacks: it is that of another run"
        )
    entries = config.layout.entries
    for name, tensor in snapshot.tensors.items():
        if name.startswith("update/"):
            _check_array(name, tensor, (entries,), np.float32)
    for client, state in snapshot.clients.items():
        for name, tensor in state.items():
            length = 1 if name == HELD_VERSION else entries
            _check_array(f"client/{client}/{name}", tensor, (length,), np.float32)
    check_values(snapshot, config.fleet.clients)


def unknown_arrays(snapshot: Snapshot, config: RunConfig) -> list[str]:
    """Return the names of arrays that no learner of a run writes, sorted."""
    known = {name for name, _ in _expected_arrays(snapshot, config)}
    return sorted(n for n in snapshot.tensors if n not in known and not n.startswith("update/"))


def _expected_arrays(snapshot: Snapshot, config: RunConfig) -> Iterator[tuple[str, Expected]]:
    """Yield the name of each array of the learner's state with its shape and type."""
    entries, method = config.layout.entries, config.method
    yield "P", ((entries,), np.float32)
    if snapshot.version and not method.server_averages:  # before the first step it has no moments
        for name in _MOMENTS.get(config.server.optimizer, _ADAPTIVE):
            yield name, (() if name == "step" else (entries,), np.float32)
    if method.persistent:
        yield "lost_at", ((entries,), np.int32)
    if method.change_ledger:
        yield "changed_at", ((entries,), np.int32)
    if method.backbone_change:
        for name in sorted(snapshot.tensors):
            if name.startswith(STEP):
                yield name, ((snapshot.tensors[name].size,), np.uint8)
    if method.has_ledger:
        kept = len(snapshot.tensors.get("held_keys", ()))
        packed = -(-entries // 8) if kept else 0
        yield "held", ((config.fleet.clients,), np.int32)
        yield "held_keys", ((kept, 2), np.int32)
        yield "held_masks", ((kept, packed), np.uint8)


def _check_array(
    name: str, found: NDArray[Any] | None, shape: tuple[int, ...], kind: type[np.generic]
) -> None:
    if found is None:
        raise RecordError(f"the checkpoint lacks {name!r}: it is that of another run")
    if found.shape != shape or found.dtype != kind:
        raise RecordError(
            f"the checkpoint's {name!r} is {found.dtype} of shape {found.shape}; this run's is "
            f"{np.dtype(kind)} of shape {shape}: it is that of another rank, layout or method"
        )
