"""Pipes: shared capacities in simulated time, whose flows start and end as SimPy events.

Rates are recomputed once per instant, after all other events of that instant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import tee
from typing import NamedTuple

import simpy

from floss_sim.network.flow.max_min_fair import FairShare, Flow
from floss_sim.network.link import RateChange, bits_until, seconds_of

_AFTER_ALL = 10  # SimPy priority: later than SimPy's own events


class EndOfInstant(simpy.Event):
    """Event that, on request, calls a function after all other events of the current instant."""

    def __init__(self, env: simpy.Environment, call: Callable[[], None], order: int = 0) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        self._call = call
        self._priority = _AFTER_ALL + order
        self._asked = False

    def ask(self) -> None:
        """Request one call at the end of this instant; further requests change nothing."""
        if not self._asked:
            self._asked = True
            self.callbacks = [self._answer]
            self.env.schedule(self, priority=self._priority)  # type: ignore[arg-type]

    def _answer(self, _: simpy.Event) -> None:
        self._asked = False
        self._call()


class Pipe:
    """One direction of the server's capacity, shared max-min fairly by the transfers in flight."""

    def __init__(self, env: simpy.Environment, share: FairShare) -> None:
        self._env = env
        self._share = share
        self._changes: list[tuple[float, int, Flow, float, Iterator[RateChange]]] = []
        self._due_s = math.inf  # instant of the earliest scheduled wake-up
        self._settling = EndOfInstant(env, self._settle)

    def start(self, bits: float, caps: Iterator[RateChange], cell: int) -> Flow:
        """Start a flow; its ``tag`` is the SimPy event of its last bit.

        Args:
            bits: Number of bits on the wire.
            caps: Rates that the client's own link allows over time, beginning now.
            cell: Number of the client's cell in the middle tier.
        """
        _, cap = next(caps)
        flow = self._share.add(self._env.now, bits, cap, cell, self._env.event())
        self._await_change(flow, caps)
        self._settling.ask()
        return flow

    def stop(self, flow: Flow) -> float:
        """Stop a flow if it has not ended; return the bits not sent."""
        in_flight = flow.turn >= 0  # also if all bits are sent and its end is due at this instant
        left = self._share.remove(self._env.now, flow)
        if in_flight:
            self._settling.ask()
        return left

    def _await_change(self, flow: Flow, caps: Iterator[RateChange]) -> None:
        following = next(caps, None)
        if following:
            at_s, cap = following
            heappush(self._changes, (at_s, flow.number, flow, cap, caps))

    def _settle(self) -> None:
        self._share.settle(self._env.now)
        self._sleep()

    def _sleep(self) -> None:
        """Schedule a wake-up for the next end of a flow or change of a cap."""
        due_s = self._share.next_end_s()
        if self._changes:
            due_s = min(due_s, self._changes[0][0])
        if due_s < self._due_s:
            self._due_s = due_s
            timeout = self._env.timeout(max(0.0, due_s - self._env.now), due_s)
            timeout.callbacks.append(self._wake)

    def _wake(self, timeout: simpy.Event) -> None:
        """End flows and change caps that are due; a replaced wake-up does nothing."""
        if timeout.value != self._due_s:
            return
        self._due_s = math.inf
        now = max(timeout.value, self._env.now)  # delays are rounded: the clock may be early
        ended = self._share.pop_ended(now)  # before caps change: a cap may drop to 0 at the end
        for flow in ended:
            flow.tag.succeed()
        acted = bool(ended)
        while self._changes and self._changes[0][0] <= now:
            _, _, flow, cap, caps = heappop(self._changes)
            if flow.turn >= 0:
                self._share.set_cap(now, flow, cap)
                self._await_change(flow, caps)
                acted = True
        if acted:
            self._settling.ask()
        else:
            self._sleep()


class Passage(NamedTuple):
    """Transfer through an open pipe: event of its last bit, bits, and rates of its own link."""

    tag: simpy.Event
    bits: float
    caps: Iterator[RateChange]


class OpenPipe:
    """One direction of a server without a capacity limit: each transfer runs as if alone.

    Results equal those of a :class:`Pipe` with unlimited capacity, at less computation.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env

    def start(self, bits: float, caps: Iterator[RateChange], cell: int) -> Passage:
        """Start a transfer.

        Args:
            bits: Number of bits on the wire.
            caps: Rates that the client's own link allows over time, beginning now.
            cell: Number of the client's cell; has no effect here.
        """
        caps, again = tee(caps)
        return Passage(self._env.timeout(seconds_of(bits, caps)), bits, again)

    def stop(self, passage: Passage) -> float:
        """Stop a transfer if it has not ended; return the bits not sent."""
        if passage.tag.processed:
            return 0.0
        return max(0.0, passage.bits - bits_until(self._env.now, passage.caps))
