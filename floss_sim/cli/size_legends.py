"""Legends that name the levels of a message's size."""

from __future__ import annotations

from floss_sim.wire.framing import OVERHEAD_BYTES

FRAMED_LEGEND = f"payload: positions and values; framed: with our frame of {OVERHEAD_BYTES} bytes"
SIZES_LEGEND = (
    f"{FRAMED_LEGEND}; message: framed, with the call's RPC framing; link: message, with TLS "
    "records and TCP/IP headers"
)
