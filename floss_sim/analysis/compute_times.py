"""Seconds of local training of each participation of a run.

Shapes: R rounds, C clients of a round, N clients that take part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from floss_sim.analysis.traffic import Floats, Ints, Traffic
from floss_sim.network import ClientLink
from floss_sim.network.link import known_work


def compute_seconds(traffic: Traffic, links: Sequence[ClientLink], place_RC: Ints) -> Floats:
    """Return the seconds of local training (R x C), by the formula of ``ClientLink.compute_s``.

    Args:
        traffic: The messages of the run, with its examples and operations.
        links: Links of the clients that take part (N).
        place_RC: Place of each participation's client among them.

    Raises:
        ProfileError: A client has a device, and the operations are unknown.
    """
    per_example_N = np.array([link.compute_s_per_example for link in links])
    seconds_RC: Floats = per_example_N[place_RC] * traffic.examples
    devices = [link.device for link in links]
    if not any(devices):
        return seconds_RC
    work = known_work(traffic.work)
    one_N = [device.seconds(1, 0.0, work.precision) if device else 0.0 for device in devices]
    each_N = [device.seconds(0, 1.0, work.precision) if device else 0.0 for device in devices]
    steps_RC, operations_RC = work.steps(traffic.examples), work.of_examples(traffic.examples)
    seconds_RC += np.array(one_N)[place_RC] * steps_RC + np.array(each_N)[place_RC] * operations_RC
    return seconds_RC
