"""Predicted bytes of a message on three levels: payload, message, link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from floss_sim.analysis.traffic import Ints
from floss_sim.network.transport import Transport
from floss_sim.wire.framing import OVERHEAD_BYTES


@dataclass(frozen=True)
class MessageEstimate:
    """Predicted bytes of one message, on three levels.

    Attributes:
        payload: Positions and values.
        message: Payload with our frame and the framing of the call.
        link: Message with TLS records, TCP/IP and link headers.
    """

    payload: float
    message: float
    link: float

    def to_json(self) -> dict[str, float]:
        """Return the levels in bytes."""
        return dict(vars(self))


def mean_message(nbytes_RC: Ints, transport: Transport, way: str) -> MessageEstimate:
    """Return the mean sizes of messages.

    Args:
        nbytes_RC: Framed bytes of the messages, one of each client and round.
        transport: What the network adds to a message.
        way: Their direction, ``"down"`` or ``"up"``.
    """
    sizes, counts = np.unique(nbytes_RC, return_counts=True)

    def mean(level: Callable[[int], int]) -> float:
        return float(np.average([level(int(size)) for size in sizes], weights=counts))

    return MessageEstimate(
        payload=mean(lambda size: size - OVERHEAD_BYTES),
        message=mean(lambda size: transport.message_bytes(size, way)),
        link=mean(lambda size: transport.wire_bytes(size, way=way)),
    )
