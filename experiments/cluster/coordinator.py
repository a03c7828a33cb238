"""Processor time of the coordinator for each call: what 256 workers would ask of it.

    python experiments/cluster/coordinator.py

One worker in this process trains runs of the digits in short calls. The time is that of the
dispatcher's thread, so that other programs change it little.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from floss_sim import RunConfig, floss, load_task
from planner.cluster.cluster_trainer import ClusterTrainer
from planner.cluster.dispatcher import Dispatcher
from planner.cluster.engines.own_executor import engine_of
from planner.cluster.parcel import pack_parcel, unpack_parcel
from planner.execution.curve_store import CurveStore

ROUNDS, SLICES_S, BLOB_BYTES = 60, (0.25, 1.0, 4.0), 32_000_000
PARTS = ("_prepared", "_send", "_take_done")  # methods of the dispatcher that work for a call


def timed(method: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """Return a method that notes the processor time of its thread."""

    def call(*arguments: Any) -> Any:
        began_s = time.thread_time()
        try:
            return method(*arguments)
        finally:
            seconds.append(time.thread_time() - began_s)

    return call


def calls_of(slice_s: float) -> tuple[int, float, int]:
    """Return number of calls, seconds of the coordinator and bytes, of four runs in slices."""
    seconds: list[float] = []
    kept = {name: getattr(Dispatcher, name) for name in PARTS}
    for name, method in kept.items():
        setattr(Dispatcher, name, timed(method, seconds))
    task = load_task("digits")
    jobs = [(RunConfig.of(task, floss(1 / 4, 1 / 16), rank=r), ROUNDS) for r in (1, 4, 8, 16)]
    try:
        with ThreadPoolExecutor(1) as pool, tempfile.TemporaryDirectory() as folder:
            store = CurveStore(Path(folder) / "store", "cpu")
            store.root.mkdir()
            with ClusterTrainer(store, engine_of(pool, 1), slice_s=slice_s) as trainer:
                trainer.train(jobs, lambda: None)
                state = trainer.state
    finally:
        for name, method in kept.items():
            setattr(Dispatcher, name, method)
    return len(seconds) // len(PARTS), sum(seconds), state.sent_bytes + state.received_bytes


def main() -> None:
    """Print the table."""
    print("| seconds of a call | calls | coordinator, ms a call | kB a call |\n|---|---|---|---|")
    for slice_s in SLICES_S:
        calls, seconds, moved = calls_of(slice_s)
        print(
            f"| {slice_s:g} | {calls} | {1000 * seconds / calls:.1f} | {moved / calls / 1e3:.0f} |"
        )
    began_s = time.thread_time()
    parcel = pack_parcel({}, {"data": os.urandom(BLOB_BYTES)})
    packed_s = time.thread_time()
    unpack_parcel(parcel)
    unpacked_s = time.thread_time()
    rates = [BLOB_BYTES / 1e6 / s for s in (packed_s - began_s, unpacked_s - packed_s)]
    size, (packed, unpacked) = BLOB_BYTES / 1e6, rates
    print(
        f"\nA parcel of {size:.0f} MB is packed at {packed:.0f} MB/s, unpacked at {unpacked:.0f}."
    )


if __name__ == "__main__":
    main()
