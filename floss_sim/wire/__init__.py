"""Messages to bytes and back: framing, index codes, value codes and exact size prediction.

The cost of a transfer is ``len(encode(...))``. :func:`predict_nbytes` gives the same number
without values, and an upper bound where exact zeros make the real message smaller.
"""

from floss_sim.wire.codec import decode, encode, predict_nbytes, sent_entries
from floss_sim.wire.value_codes import VALUE_CODES

__all__ = ["VALUE_CODES", "decode", "encode", "predict_nbytes", "sent_entries"]
