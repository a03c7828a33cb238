"""Commits made by hand: rows of any rounds, nothing trained."""

from __future__ import annotations

import numpy as np

from floss_sim.fingerprints import fingerprint
from floss_sim.protocol import Snapshot
from floss_sim.records import RunFolder
from floss_sim.records.schema import RECORD_VERSION

ONE, OTHER = "0123456789abcdef", "fedcba9876543210"  # timings


def describe(**trajectory: object) -> dict[str, object]:
    return {
        "record_version": RECORD_VERSION,
        "fingerprint": fingerprint(trajectory),
        "trajectory": trajectory,
    }


def round_row(number: int, accuracy: float | None = None) -> dict[str, object]:
    row: dict[str, object] = {
        "round": number, "version": number, "opened_at_s": number - 1.0,
        "closed_at_s": float(number), "reports": 1, "down_bytes": 0, "up_bytes": 11,
        "wasted_bytes": 0, "wire_bytes": 12,
    }  # fmt: skip
    names = ("accuracy", "loss", "dense_accuracy", "dense_loss")
    return {**row, **dict.fromkeys(names, accuracy)}


def transfer_row(sequence: int) -> dict[str, object]:
    return {
        "sequence": sequence, "round": sequence + 1, "client": 3, "direction": "up", "version": 0,
        "nbytes": 11, "entries": 1, "examples": 2, "started_at_s": 0.0, "ended_at_s": 0.5,
        "sent_bytes": 11, "wire_bytes": 12, "alone_s": 0.5, "fate": "aggregated",
    }  # fmt: skip


def commit(folder: RunFolder, numbers: range, timing: str = ONE, **models: bytes) -> None:
    folder.commit(
        [round_row(n, 0.5) for n in numbers],
        [transfer_row(n - 1) for n in numbers],
        timing=timing,
        snapshot=Snapshot(numbers[-1], {"P": np.full(3, numbers[-1], np.float32)}),
        models={numbers[-1]: b"model%d" % numbers[-1]},
    )
