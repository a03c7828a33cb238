"""Law of a deployment framework: what it adds to each message, and the floor of a round.

::

    |-- wait --|-- download --|-- start, training, check --|-- upload --|-- server's poll --|
    dispatch   the node asks                                            arrival    the round closes

A node that waits asks for messages at an interval; the server looks for replies at an interval. A
process is started for each message. The laws are fitted from measurements
(``experiments/flower``), one TOML file for each version in this folder.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from floss_sim import documents
from floss_sim.documents import Duration, OneLine, Section
from floss_sim.errors import ProfileError
from floss_sim.rng import stream

_Bytes = Annotated[int, Field(ge=0, le=10**9)]


class Delays(NamedTuple):
    """Seconds that a framework adds to one dispatch, at three of its instants."""

    before_download_s: float
    before_training_s: float
    before_upload_s: float


class Framework(Section):
    """Law of one version of a framework.

    Attributes:
        name: Name and version, such as ``flower-1.42``.
        source: Who measured it.
        date: When.
        down_bytes: Bytes beside the payloads of a download and its reply, from server to node.
        up_bytes: The same from node to server: the requests, and what surrounds the reply.
        round_trips: Requests of a message that wait for each other, beyond the first.
        node_poll: Interval at which a waiting node asks for messages.
        node_check: Interval at which a node looks whether its training is done.
        server_poll: Interval at which the server looks for replies, from the round's begin on.
        server_time: Time that the server takes to hand out and to collect the messages of a round.
        start: Median time until the process that trains has started and loaded its libraries.
        start_sigma: Standard deviation of the logarithm of that time.
        poll_down_bytes: Bytes of the answer to a node that asks in vain.
        poll_up_bytes: Bytes of that request.
    """

    name: OneLine
    source: OneLine
    date: OneLine
    down_bytes: _Bytes
    up_bytes: _Bytes
    round_trips: Annotated[int, Field(ge=0, le=100)]
    node_poll: Duration
    node_check: Duration
    server_poll: Duration
    server_time: Duration
    start: Duration
    start_sigma: Annotated[float, Field(ge=0, le=3)]
    poll_down_bytes: _Bytes = 0
    poll_up_bytes: _Bytes = 0

    def message_bytes(self, way: str) -> int:
        """Return the bytes beside the payload in a direction, ``"down"`` or ``"up"``."""
        return self.up_bytes if way == "up" else self.down_bytes

    def delays(self, seed: int, sequence: int) -> Delays:
        """Return the seconds that the framework adds to a dispatch.

        Args:
            seed: Seed of the network profile.
            sequence: Number of the dispatch.
        """
        draw = stream(seed, "network", "dispatch", sequence, "framework")
        wait, check, spread = draw.random(), draw.random(), draw.standard_normal()
        start_s = self.start * math.exp(self.start_sigma * spread)
        return Delays(wait * self.node_poll, start_s, check * self.node_check)

    @property
    def mean_delay_s(self) -> float:
        """Mean seconds that the framework adds to a dispatch."""
        start_s = self.start * math.exp(self.start_sigma**2 / 2)
        return (self.node_poll + self.node_check) / 2 + start_s

    def seen_after_s(self, arrived_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the seconds from a round's begin until the server sees the last reply.

        Args:
            arrived_s: Seconds from the round's begin until the last reply arrives.
        """
        if not self.server_poll:
            return arrived_s + self.server_time
        return np.ceil(arrived_s / self.server_poll) * self.server_poll + self.server_time

    def settings(self) -> dict[str, Any]:
        """Return what affects bytes and seconds, as plain values for fingerprints."""
        return self.model_dump(mode="json", exclude={"source", "date"})


def framework_names() -> tuple[str, ...]:
    """Return the names of the measured frameworks."""
    return documents.packaged_names(__package__)


@cache
def load_framework(name: str) -> Framework:
    """Return the law of a framework.

    Raises:
        ProfileError: The name is unknown, or the file is damaged.
    """
    path = documents.find(name, __package__, "framework", ProfileError)
    return documents.read(path, Framework, ProfileError)
