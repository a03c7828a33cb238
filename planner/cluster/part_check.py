"""Check of what a worker trained, before it is committed: each blob must be one of this run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from floss_sim.analysis.on_test import predictions_by_example
from floss_sim.errors import PayloadError, RecordError
from floss_sim.records.checkpoint import unpack
from floss_sim.records.on_test import OWN_RIGHT, read_own
from floss_sim.records.run_part import RunPart
from floss_sim.runs.config import RunConfig
from floss_sim.training.learners.snapshot_arrays import check_arrays, unknown_arrays
from floss_sim.wire import decode
from planner.cluster.parcel import ParcelError


def check_part(config: RunConfig, part: RunPart, recording: tuple[str, str]) -> None:
    """Check timing, network, checkpoint and models of a part; its tables are checked elsewhere.

    Args:
        config: The run.
        part: The part, as a worker sent it.
        recording: Timing fingerprint (hex) and network name of the store's tables.

    Raises:
        ParcelError: The part is not one of this run; the message says what differs.
    """
    rounds = f"the rounds after round {part.after}"
    if (part.timing, part.network) != recording:
        raise ParcelError(f"{rounds} are of another timing or network than the store's")
    try:
        snapshot = unpack(part.version, load(part.checkpoint))
        check_arrays(snapshot, config)
        if unknown := unknown_arrays(snapshot, config):
            raise ValueError(f"array {unknown[0][:80]!r} is unknown")
    except (RecordError, SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ParcelError(f"{rounds} have a damaged checkpoint: {error}") from None
    for number, blob in part.models.items():
        try:
            decode(config.layout, blob)
        except PayloadError as error:
            raise ParcelError(f"the model of round {number} is damaged: {error}") from None


def check_own_tests(
    config: RunConfig, part: RunPart, given: Mapping[int, str]
) -> dict[int, NDArray[np.float64]]:
    """Return by round what own models get right on test, after a check.

    Args:
        config: The run, with private entries.
        part: The part, as a worker sent it.
        given: Packed results by round, as the worker sent them.

    Raises:
        ParcelError: They are not those of the part's evaluated rounds, or of the task's test split.
    """
    if given.keys() != part.models.keys():
        raise ParcelError(
            f"the rounds after round {part.after} lack results of own models on test, or have "
            "those of other rounds"
        )
    count = int(predictions_by_example(config.task).sum())
    found = {}
    for number, packed in given.items():
        try:
            right_M = read_own({OWN_RIGHT: packed})
        except ValueError as error:
            raise ParcelError(f"the test of round {number} is damaged: {error}") from None
        if right_M is None or len(right_M) != count:
            raise ParcelError(f"the test of round {number} is of another test split")
        found[number] = right_M
    return found
