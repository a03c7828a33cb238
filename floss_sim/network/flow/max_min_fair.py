"""Max-min fair sharing of a capacity, exact between changes of rates.

Transfers in flight are *flows*. Each has a cap (what its own client's link lets through) and
belongs to a *pool* that shares a capacity: the server's, or that of one cell of a middle tier
below it. Every flow gets ``min(cap, level)``; the level of a pool is the highest at which its
flows fit into its capacity, and no higher than the server's level (Bertsekas and Gallager, Data
Networks, 2nd ed., 1992, section 6.5.2).

A flow whose cap is at or below the level is *capped*: it ends at an instant that is known. The
others are *fair*: all of a pool advance alike, so that only the pool's *served* bits move (its
virtual time; as in processor sharing) and the order in which they end is fixed. An event costs
O(log flows) for each flow that changes sides, and O(pools).

Sums of rates are kept in whole units of 1e-12 bit/s, so that they are the same in any order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import Any

_UNITS = 10**12  # a bit per second, in units of rate


def _units(bits_per_s: float) -> int:
    return round(bits_per_s * _UNITS)


class Flow:
    """A transfer in flight; ``tag`` is its owner's."""

    __slots__ = ("at_s", "bits", "cap", "end", "is_fair", "number", "pool", "tag", "turn", "units")

    def __init__(self, number: int, bits: float, cap: float, pool: _Pool, tag: Any) -> None:
        self.number = number
        self.bits = bits  # left at ``at_s`` while capped
        self.cap = cap
        self.units = _units(cap)
        self.pool = pool
        self.tag = tag
        self.at_s = 0.0
        self.end = 0.0  # an instant while capped; the pool's served bits while fair
        self.turn = -1  # which heap entries are current; -1: none
        self.is_fair = False


_Entry = tuple[float, int, Flow]


_SLACK = 64


def _push(heap: list[_Entry], key: float, flow: Flow, current: int) -> None:
    """Add a flow to a heap of which so many entries are current; drop the others now and then."""
    if len(heap) > 2 * current + _SLACK:
        heap[:] = [entry for entry in heap if entry[2].turn == entry[1]]
        heapify(heap)
    heappush(heap, (key, flow.turn, flow))


def _top(heap: list[_Entry]) -> Flow | None:
    """Return the first flow of a heap whose entry is still current."""
    while heap and heap[0][2].turn != heap[0][1]:
        heappop(heap)
    return heap[0][2] if heap else None


class _Pool:
    """The flows that share one capacity, and their level.

    Attributes:
        capacity: In units of rate; None is unlimited.
        fixed: Sum of the caps of the capped flows, in units.
        capped: How many these are.
        fair: How many flows are at the level.
        level: Bits per second of each fair flow.
        own: Whether the pool's own capacity sets its level, rather than the server's.
    """

    def __init__(self, capacity_bits_per_s: float) -> None:
        unlimited = math.isinf(capacity_bits_per_s)
        self.capacity = None if unlimited else _units(capacity_bits_per_s)
        self.fixed = 0
        self.capped = 0
        self.fair = 0
        self.level = math.inf
        self.own = False
        self.moves = 0
        self._turn = 0
        self._served = 0.0
        self._at_s = 0.0
        self._capped_ends: list[_Entry] = []
        self._fair_ends: list[_Entry] = []
        self._largest_capped: list[_Entry] = []
        self._smallest_fair: list[_Entry] = []

    def advance(self, now: float) -> None:
        """Serve the fair flows up to an instant."""
        if self.fair:
            self._served += self.level * max(0.0, now - self._at_s)
        else:
            self._served = 0.0  # idle: virtual time starts again, so that it never grows large
        self._at_s = now

    def place(self, flow: Flow, now: float, is_fair: bool) -> None:
        """Put a flow that is in no heap on one side."""
        self.moves += 1
        self._turn += 1
        flow.turn, flow.is_fair, flow.at_s = self._turn, is_fair, now
        if is_fair:
            self.fair += 1
            flow.end = self._served + flow.bits
            _push(self._fair_ends, flow.end, flow, self.fair)
            _push(self._smallest_fair, flow.units, flow, self.fair)
        else:
            self.capped += 1
            self.fixed += flow.units
            flow.end = now + flow.bits / flow.cap if flow.cap else math.inf
            _push(self._capped_ends, flow.end, flow, self.capped)
            _push(self._largest_capped, -flow.units, flow, self.capped)

    def take(self, flow: Flow, now: float) -> None:
        """Take a flow out; ``bits`` becomes what is left of it."""
        if flow.is_fair:
            self.fair -= 1
            if now > flow.at_s:
                flow.bits = max(0.0, flow.end - self._served)
        else:
            self.capped -= 1
            self.fixed -= flow.units
            flow.bits = max(0.0, flow.bits - flow.cap * max(0.0, now - flow.at_s))
        flow.turn = -1

    def cross(self, flow: Flow, now: float) -> None:
        """Move a flow to the other side."""
        self.take(flow, now)
        self.place(flow, now, not flow.is_fair)

    def fill(self, now: float) -> None:
        """Find the level at which the flows fill the pool's own capacity.

        Both loops only raise the level, so that one pass of each suffices.
        """
        if self.capacity is None:
            self.level = math.inf
            return
        while (flow := _top(self._largest_capped)) and (
            flow.units * self.fair > self.capacity - self.fixed
            if self.fair
            else self.fixed > self.capacity
        ):
            self.cross(flow, now)
        while (flow := _top(self._smallest_fair)) and (
            flow.units * self.fair <= self.capacity - self.fixed
        ):
            self.cross(flow, now)
        self.level = (self.capacity - self.fixed) / (self.fair * _UNITS) if self.fair else math.inf
        self.own = self.fair > 0

    def is_overfull(self) -> bool:
        """Return whether the flows would not fit at the level that they have."""
        if self.capacity is None:
            return False
        at_level = self.fair * self.level * _UNITS if self.fair else 0
        return self.fixed + at_level > self.capacity

    def highest_level(self) -> float:
        """Return, in units, the largest level below the server's that something here is at."""
        if self.own and self.capacity is not None:
            return (self.capacity - self.fixed) / self.fair
        flow = _top(self._largest_capped)
        return flow.units if flow else -math.inf

    def lowest_level(self) -> float:
        """Return, in units, the server's level from which on something here is held back."""
        if self.own:
            return math.inf
        flow = _top(self._smallest_fair)
        cap = flow.units if flow else math.inf
        return min(cap, self._full_level())

    def _full_level(self) -> float:
        if self.capacity is None or not self.fair:
            return math.inf
        return (self.capacity - self.fixed) / self.fair

    def join(self, now: float) -> None:
        """Bring what :meth:`highest_level` measures to the server's level."""
        if self.own:
            self.own = False
        elif flow := _top(self._largest_capped):
            self.cross(flow, now)

    def leave(self, now: float) -> None:
        """Take what :meth:`lowest_level` measures from the server's level."""
        flow = _top(self._smallest_fair)
        if flow and flow.units <= self._full_level():
            self.cross(flow, now)
        else:
            self.fill(now)

    def next_end_s(self) -> float:
        """Return the instant at which the next flow ends; infinity if none does."""
        capped, fair = _top(self._capped_ends), _top(self._fair_ends)
        end_s = capped.end if capped else math.inf
        return min(end_s, self._fair_end_s(fair)) if fair else end_s

    def _fair_end_s(self, flow: Flow) -> float:
        return self._at_s + max(0.0, flow.end - self._served) / self.level

    def pop_ended(self, now: float) -> list[Flow]:
        """Take out the flows that end by an instant, to which the pool has not yet advanced."""
        capped: list[Flow] = []
        while (flow := _top(self._capped_ends)) and flow.end <= now:
            self.take(flow, now)
            capped.append(flow)
        fair: list[Flow] = []
        while (flow := _top(self._fair_ends)) and self._fair_end_s(flow) <= now:
            fair.append(flow)
            last, flow.turn = flow.end, -1
        if fair:
            # Served bits are set to the end that named this instant: sums cannot miss it.
            self._served, self._at_s = last, now
            self.fair -= len(fair)
        return capped + fair


class FairShare:
    """Flows through one direction of the server, with or without cells in between.

    Call :meth:`settle` once after all changes of an instant; instants never go back.

    Args:
        capacity_bits_per_s: The server's capacity; infinity is unlimited.
        cells_bits_per_s: The capacity of each cell; no cells: flows meet at the server alone.
    """

    def __init__(
        self, capacity_bits_per_s: float = math.inf, cells_bits_per_s: Sequence[float] = ()
    ) -> None:
        self._pools = [_Pool(rate) for rate in cells_bits_per_s or [capacity_bits_per_s]]
        shared = cells_bits_per_s and not math.isinf(capacity_bits_per_s)
        self._capacity = _units(capacity_bits_per_s) if shared else None
        self._touched: set[_Pool] = set()
        self._started = 0

    @property
    def moves(self) -> int:
        """How often a flow was put on a side: the work done so far."""
        return sum(pool.moves for pool in self._pools)

    def add(
        self, now: float, bits: float, cap_bits_per_s: float, cell: int = 0, tag: Any = None
    ) -> Flow:
        """Start a flow of so many bits."""
        pool = self._pools[cell]
        flow = Flow(self._started, bits, cap_bits_per_s, pool, tag)
        self._started += 1
        self._touch(pool, now)
        pool.place(flow, now, flow.cap > pool.level)
        return flow

    def set_cap(self, now: float, flow: Flow, cap_bits_per_s: float) -> None:
        """Change what a flow's own link lets through."""
        self._touch(flow.pool, now)
        flow.pool.take(flow, now)
        flow.cap, flow.units = cap_bits_per_s, _units(cap_bits_per_s)
        flow.pool.place(flow, now, flow.cap > flow.pool.level)

    def remove(self, now: float, flow: Flow) -> float:
        """Stop a flow; return the bits that were left of it, 0 if it had ended."""
        if flow.turn < 0:
            return 0.0
        self._touch(flow.pool, now)
        flow.pool.take(flow, now)
        return flow.bits

    def next_end_s(self) -> float:
        """Return the instant at which the next flow ends, if nothing changes before."""
        return min(map(_Pool.next_end_s, self._pools))

    def pop_ended(self, now: float) -> list[Flow]:
        """Take out the flows that end by an instant, in the order in which they were started."""
        ended: list[Flow] = []
        for pool in self._pools:
            if gone := pool.pop_ended(now):
                ended += gone
                self._touch(pool, now)
        for flow in ended:
            flow.bits = 0.0
        return sorted(ended, key=attrgetter("number"))

    def settle(self, now: float) -> None:
        """Give every flow its rate after the changes of an instant."""
        if self._capacity is None:
            for pool in self._touched:
                pool.fill(now)
        elif self._touched:
            self._settle_tiers(now, self._capacity)
        self._touched.clear()

    def _touch(self, pool: _Pool, now: float) -> None:
        pool.advance(now)
        self._touched.add(pool)

    def _settle_tiers(self, now: float, capacity: int) -> None:
        """Find the server's level, as :meth:`_Pool.fill` does, over flows and whole cells.

        A cell whose own capacity binds counts with it; every other one with its flows.
        """
        for pool in self._pools:
            pool.advance(now)
            if pool.own or pool.is_overfull():
                pool.fill(now)
        left, fair = self._leftover(capacity)
        while True:  # what is above the server's level comes under it
            over = max(self._pools, key=_Pool.highest_level)
            if over.highest_level() * fair <= left if fair else left >= 0:
                break
            over.join(now)
            left, fair = self._leftover(capacity)
        while fair:  # what is held back elsewhere leaves
            under = min(self._pools, key=_Pool.lowest_level)
            if under.lowest_level() * fair > left:
                break
            under.leave(now)
            left, fair = self._leftover(capacity)
        level = left / (fair * _UNITS) if fair else math.inf
        for pool in self._pools:
            if not pool.own:
                pool.level = level

    def _leftover(self, capacity: int) -> tuple[int, int]:
        """Return what is left for the flows at the server's level, in units, and how many."""
        left, fair = capacity, 0
        for pool in self._pools:
            if pool.own and pool.capacity is not None:
                left -= pool.capacity
            else:
                left -= pool.fixed
                fair += pool.fair
        return left, fair
