"""Check of what a worker trained, before it is committed: each blob must be one of this run."""

from __future__ import annotations

from safetensors import SafetensorError
from safetensors.numpy import load

from floss_sim.errors import PayloadError, RecordError
from floss_sim.records.checkpoint import unpack
from floss_sim.records.run_part import RunPart
from floss_sim.runs.config import RunConfig
from floss_sim.training.learners.snapshot_shapes import check_shapes, unknown_arrays
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
        check_shapes(snapshot, config)
        if unknown := unknown_arrays(snapshot, config):
            raise ValueError(f"array {unknown[0][:80]!r} is unknown")
    except (RecordError, SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ParcelError(f"{rounds} have a damaged checkpoint: {error}") from None
    for number, blob in part.models.items():
        try:
            decode(config.layout, blob)
        except PayloadError as error:
            raise ParcelError(f"the model of round {number} is damaged: {error}") from None
