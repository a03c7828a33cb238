"""Protocol between the simulator and the learners: messages, sampling, aggregation weights.

Messages are immutable values: a test can create, print and save them without a simulator.
"""

from floss_sim.protocol.learner import Job, Learner, LearnerIdentity, Metrics, Snapshot
from floss_sim.protocol.messages import NO_STATE, Arrival, ClientState, Dispatch, Upload

__all__ = [
    "NO_STATE",
    "Arrival",
    "ClientState",
    "Dispatch",
    "Job",
    "Learner",
    "LearnerIdentity",
    "Metrics",
    "Snapshot",
    "Upload",
]
