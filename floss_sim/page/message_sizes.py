"""Sizes of a message at three levels: payload, message, link."""

from __future__ import annotations

from floss_sim.network import NetworkProfile
from floss_sim.page import texts
from floss_sim.units import format_bytes


def size_cells(nbytes: float, profile: NetworkProfile | None, way: str) -> tuple[str, ...]:
    """Return the cells of a message's payload, of the message and of its bytes on the link.

    Args:
        nbytes: Bytes of the payload in our frame.
        profile: The network; None if it is unknown.
        way: Direction of the message, ``"down"`` or ``"up"``.
    """
    whole = round(nbytes)
    if profile is None:
        return (format_bytes(whole), texts.NOT_THERE, texts.NOT_THERE)
    transport = profile.transport
    link = transport.wire_bytes(whole, way=way) + transport.setup_bytes
    return tuple(map(format_bytes, (whole, transport.message_bytes(whole, way), link)))
