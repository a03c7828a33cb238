"""Encoding and decoding of messages: framing, index codes, value codes and size prediction.

The size of a message is ``len(encode(...))``. :func:`predict_nbytes` predicts it without values,
for uniformly distributed positions. ``FORMAT.md`` defines every byte.
"""

from floss_sim.wire.codec import decode, encode, sent_entries
from floss_sim.wire.index_codes import INDEX_CODES
from floss_sim.wire.prediction import plain_nbytes, predict_nbytes
from floss_sim.wire.value_codes import VALUE_CODES

__all__ = [
    "INDEX_CODES",
    "VALUE_CODES",
    "decode",
    "encode",
    "plain_nbytes",
    "predict_nbytes",
    "sent_entries",
]
