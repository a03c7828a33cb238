"""Protocol between the simulator and the learners: messages, sampling, aggregation weights.

Messages are immutable values: a test can create, print and save them without a simulator.

The :class:`Learner` is the only connection between simulated time and training. Besides
``dispatch``, ``train``, ``aggregate`` and ``evaluate`` it has ``job``: the training that must be
computed before ``train`` can answer. A simulation yields its jobs and stands still meanwhile, so
that one loop can step several runs and compute their jobs in one pass. Learners that do not train
have no jobs. In the first design ``train`` waited for other runs itself, in a thread of each run.
"""

from floss_sim.protocol.learner import (
    Job,
    Learner,
    LearnerIdentity,
    Metrics,
    OwnMetrics,
    Snapshot,
)
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
    "OwnMetrics",
    "Snapshot",
    "Upload",
]
