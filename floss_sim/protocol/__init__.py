"""The protocol between simulated time and learning: messages, the learner, sampling, weights.

Everything that passes is a frozen value that can be printed, saved and made by hand in a test.
"""

from floss_sim.protocol.learner import Learner, LearnerIdentity, Metrics, Snapshot
from floss_sim.protocol.messages import NO_STATE, Arrival, ClientState, Dispatch, Upload

__all__ = [
    "NO_STATE",
    "Arrival",
    "ClientState",
    "Dispatch",
    "Learner",
    "LearnerIdentity",
    "Metrics",
    "Snapshot",
    "Upload",
]
