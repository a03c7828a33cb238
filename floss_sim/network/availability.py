"""When clients are on: an alternating renewal process with a day rhythm.

A client is on and off in turn. It switches at a rate (a hazard, per second) of

- ``(1 - swing * c) / on_s`` while it is on,
- ``(1 + swing * c) / off_s`` while it is off,

where ``c = cos(2 pi (h - peak_hour) / 24)`` at hour h of the day. Without a swing the durations
are exponential with means ``on_s`` and ``off_s``. Switches are drawn exactly, by thinning
(Lewis and Shedler 1979): candidates come at the highest rate, and one counts with a probability
of the rate at its instant over the highest.

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
    """How clients come and go; inert, so what makes it must keep to these ranges.

    Attributes:
        on_s: Mean seconds on without a swing; finite, above 0.
        off_s: Mean seconds off without a swing; finite, above 0.
        swing: How far the day moves the rates, from 0 to below 1.
        peak_hour: When coming on is likeliest and going off unlikeliest, from 0 to 24.
        start_hour: The hour of the day at simulated time 0, from 0 to 24.
    """

    on_s: float
    off_s: float
    swing: float = 0.0
    peak_hour: float = 0.0
    start_hour: float = 0.0

    def switches_per_s(self, on: bool, at_s: float) -> float:
        """Return the rate at which a client that is on (or off) at an instant ceases to be."""
        hour = self.start_hour + at_s / 3600
        swing = self.swing * math.cos(2 * math.pi * (hour - self.peak_hour) / 24)
        return (1 - swing) / self.on_s if on else (1 + swing) / self.off_s

    def next_switch(self, on: bool, from_s: float, draw: np.random.Generator) -> float:
        """Return when a client that is on (or off) at ``from_s`` ceases to be."""
        most_per_s = (1 + self.swing) / (self.on_s if on else self.off_s)
        at_s = from_s
        while True:
            at_s += draw.exponential(1 / most_per_s)
            if draw.random() * most_per_s < self.switches_per_s(on, at_s):
                return at_s


class _Timeline:
    """One client's switches, drawn as far as anyone asked."""

    def __init__(self, availability: Availability, draw: np.random.Generator) -> None:
        self._availability, self._draw = availability, draw
        on_s, off_s = availability.on_s, availability.off_s
        self._on_at_start = bool(draw.random() < on_s / (on_s + off_s))
        self._switches_s: list[float] = []

    def at(self, at_s: float) -> tuple[bool, float]:
        """Return the state at an instant, and when it ends."""
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
    """Who is on when, for a seed: the same answers in whatever order they are asked.

    Every client has a stream of its own, and is drawn only when it is asked for.
    """

    def __init__(self, availability: Availability, seed: int) -> None:
        self._availability, self._seed = availability, seed
        self._timelines: dict[int, _Timeline] = {}

    def is_on(self, client: int, at_s: float) -> bool:
        """Return whether a client is on at a finite instant."""
        return self._timeline(client).at(at_s)[0]

    def until(self, client: int, at_s: float) -> float:
        """Return when the state that a client has at a finite instant ends: after ``at_s``."""
        return self._timeline(client).at(at_s)[1]

    def _timeline(self, client: int) -> _Timeline:
        if client not in self._timelines:
            draw = stream(self._seed, "availability", client)
            self._timelines[client] = _Timeline(self._availability, draw)
        return self._timelines[client]
