"""Client availability: an alternating renewal process of on and off times, with a daily rhythm.

A client alternates between on and off. Its switching rate (hazard, per second) is

- ``(1 - swing * c) / on_s`` while it is on,
- ``(1 + swing * c) / off_s`` while it is off,

where ``c = cos(2 pi (h - peak_hour) / 24)`` at hour h of the day. Without a swing the durations
are exponential with means ``on_s`` and ``off_s``. Switches are drawn exactly, by thinning
(Lewis and Shedler 1979): candidate switches are drawn at the highest possible rate, and each is
accepted with probability (rate at its instant) / (highest rate).

At simulated time 0 a client is on with probability ``on_s / (on_s + off_s)``.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from floss_sim.rng import stream


@dataclass(frozen=True)
class Availability:
    """Parameters of client availability; values are not checked here.

    Attributes:
        on_s: Mean seconds on without a swing; finite, above 0.
        off_s: Mean seconds off without a swing; finite, above 0.
        swing: Relative amplitude of the daily change of both switching rates, 0 to below 1.
        peak_hour: Hour at which switching on is most likely and switching off least likely,
            0 to 24.
        start_hour: Hour of the day at simulated time 0, 0 to 24.
    """

    on_s: float
    off_s: float
    swing: float = 0.0
    peak_hour: float = 0.0
    start_hour: float = 0.0

    def switches_per_s(self, on: bool, at_s: float) -> float:
        """Return the rate, per second, at which a client switches its state at an instant.

        Args:
            on: Whether the client is on now.
            at_s: Simulated instant in seconds.
        """
        hour = self.start_hour + at_s / 3600
        swing = self.swing * math.cos(2 * math.pi * (hour - self.peak_hour) / 24)
        return (1 - swing) / self.on_s if on else (1 + swing) / self.off_s

    def next_switch(self, on: bool, from_s: float, draw: np.random.Generator) -> float:
        """Return the instant, in seconds, of a client's first switch after ``from_s``.

        Args:
            on: Whether the client is on at ``from_s``.
            from_s: Simulated instant in seconds.
            draw: Random generator of the client.
        """
        most_per_s = (1 + self.swing) / (self.on_s if on else self.off_s)
        at_s = from_s
        while True:
            at_s += draw.exponential(1 / most_per_s)
            if draw.random() * most_per_s < self.switches_per_s(on, at_s):
                return at_s


class _Timeline:
    """Switches of one client, drawn on demand."""

    def __init__(self, availability: Availability, draw: np.random.Generator) -> None:
        self._availability, self._draw = availability, draw
        on_s, off_s = availability.on_s, availability.off_s
        self._on_at_start = bool(draw.random() < on_s / (on_s + off_s))
        self._switches_s: list[float] = []

    def at(self, at_s: float) -> tuple[bool, float]:
        """Return whether the client is on at an instant, and the instant at which that ends."""
        switches = self._switches_s
        while not switches or switches[-1] <= at_s:
            on = self._is_on_after(len(switches))
            from_s = switches[-1] if switches else 0.0
            switches.append(self._availability.next_switch(on, from_s, self._draw))
        passed = bisect_right(switches, at_s)
        return self._is_on_after(passed), switches[passed]

    def _is_on_after(self, switches: int) -> bool:
        return self._on_at_start ^ bool(switches % 2)


class Presence:
    """On and off times of all clients for a seed; answers do not depend on the order of queries.

    Every client has its own random stream, which is drawn on demand.
    """

    def __init__(self, availability: Availability, seed: int) -> None:
        self._availability, self._seed = availability, seed
        self._timelines: dict[int, _Timeline] = {}

    def is_on(self, client: int, at_s: float) -> bool:
        """Return whether a client is on at a finite instant."""
        return self._timeline(client).at(at_s)[0]

    def until(self, client: int, at_s: float) -> float:
        """Return the instant of a client's first switch after the finite instant ``at_s``."""
        return self._timeline(client).at(at_s)[1]

    def _timeline(self, client: int) -> _Timeline:
        if client not in self._timelines:
            draw = stream(self._seed, "availability", client)
            self._timelines[client] = _Timeline(self._availability, draw)
        return self._timelines[client]
