"""Checks of a node's reply before the server uses it: size, layout, entries, values, metrics.

A node may send anything. Whatever the checks let through can be averaged without an overflow.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from floss_sim.errors import PayloadError
from floss_sim.protocol import Dispatch, OwnMetrics, Upload
from floss_sim.wire import sent_entries
from floss_sim.wire.framing import OVERHEAD_BYTES

if TYPE_CHECKING:
    from floss_sim.training.learners.torch_learner import TorchLearner

MOST_VALUE = 1e18  # its square, which Adam adds up, is within float32
_MOST_EXAMPLES = 2**31 - 1  # of one client in a round, as in the record
_VALUE_BYTES = 4
_SLACK_BYTES = 1024  # tables of an index code or a value code


def most_payload_bytes(entries: int) -> int:
    """Return the bytes that no valid message over a layout exceeds.

    Positions take at most two bits for each of the layout's entries, values at most 32 bits.

    Args:
        entries: Entries of the layout.
    """
    return OVERHEAD_BYTES + _VALUE_BYTES * entries + entries // 4 + _SLACK_BYTES


def check_reply(
    learner: TorchLearner, dispatch: Dispatch, payload: object, examples: object
) -> Upload:
    """Return a reply as an upload.

    Args:
        learner: Learner of the run on the server.
        dispatch: The dispatch that the reply answers.
        payload: What came as the encoded update.
        examples: What came as the number of examples.

    Raises:
        PayloadError: The payload is no update of this run, or the number is none.
    """
    if type(examples) is not int or not 1 <= examples <= _MOST_EXAMPLES:
        raise PayloadError("the number of examples is no whole number above 0")
    if not isinstance(payload, bytes):
        raise PayloadError("the payload is not bytes")
    most = most_payload_bytes(learner.layout.entries)
    if len(payload) > most:
        raise PayloadError(f"a payload of {len(payload)} bytes; at most {most} for this layout")
    update_N = learner.decoded_upload(dispatch, payload)
    if not (np.abs(update_N) <= MOST_VALUE).all():
        raise PayloadError(f"a value is not finite, or beyond {MOST_VALUE:g}")
    entries = sent_entries(payload)
    most = learner.most_upload_entries(dispatch)
    if entries > most:
        raise PayloadError(f"{entries} entries; the method sends at most {most}")
    return Upload(dispatch.sequence, dispatch.client, len(payload), entries, examples, payload)


def check_own_metrics(accuracy: object, loss: object) -> OwnMetrics:
    """Return what a node has measured of its own model.

    Args:
        accuracy: What came as the accuracy.
        loss: What came as the cross-entropy.

    Raises:
        PayloadError: One of them is out of range.
    """
    if type(accuracy) is not float or not 0 <= accuracy <= 1:
        raise PayloadError("the own accuracy is no number from 0 to 1")
    if type(loss) is not float or not 0 <= loss < math.inf:
        raise PayloadError("the own loss is no finite number from 0")
    return OwnMetrics(accuracy, loss)
