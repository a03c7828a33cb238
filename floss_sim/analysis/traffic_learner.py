"""Learner that does not train and whose message sizes are given by traffic."""

from __future__ import annotations

from floss_sim.analysis.traffic import Traffic
from floss_sim.protocol import ClientState, Dispatch, Upload
from floss_sim.runs.no_training import NoTraining


class TrafficLearner(NoTraining):
    """A learner that does not train and whose message sizes are given by traffic."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._down, self._up = traffic.down.ravel().tolist(), traffic.up.ravel().tolist()
        self._examples = traffic.examples.ravel().tolist()

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return a download of the given size."""
        return Dispatch(sequence, client, self.version, self._down[sequence], 1)

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Return an upload of the given size."""
        number = dispatch.sequence
        return Upload(number, dispatch.client, self._up[number], 1, self._examples[number])
