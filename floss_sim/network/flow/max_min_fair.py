"""Max-min fair sharing of capacities by transfers in flight, event-driven and exact.

A transfer in flight is a *flow*. Each flow has a cap: the highest rate that its client's link
allows. Each flow belongs to one *pool*, the flows that share one capacity: the server's or, with a
middle tier of cells between clients and server, that of one cell. Flows of all pools share the
server's capacity. Each pool has a *level*, and a flow gets the rate ``min(cap, level of its
pool)``. The level of a pool is the highest rate at which the sum of its flows' rates does not
exceed its capacity, or the server's level if that is lower (Bertsekas and Gallager, Data Networks,
2nd ed., 1992, section 6.5.2).

A flow whose cap is at or below the level is *capped*: its end time is known as long as it stays
capped. All other flows are *fair*: within a pool they have the same rate, the level. So one counter
per pool is enough for all of them (the virtual time of processor sharing): *served*, the bits that
a flow which had always been fair would have received. The order in which the fair flows of a pool
end does not depend on later changes of the level. An event (a flow starts, ends or changes its cap)
costs O(pools), and O(log flows) for each flow that changes between capped and fair.

Rates are constant between events. Sums of rates are integers in units of 1e-12 bit/s, so that the
result does not depend on the order of addition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import Any

_UNITS = 10**12  # units of rate in 1 bit/s


def _units(bits_per_s: float) -> int:
    return round(bits_per_s * _UNITS)


class Flow:
    """A transfer in flight; ``tag`` is an object of the caller."""

    __slots__ = ("at_s", "bits", "cap", "end", "is_fair", "number", "pool", "tag", "turn", "units")

    def __init__(self, number: int, bits: float, cap: float, pool: _Pool, tag: Any) -> None:
        self.number = number
        self.bits = bits  # bits not yet sent at the instant ``at_s``
        self.cap = cap
        self.units = _units(cap)
        self.pool = pool
        self.tag = tag
        self.at_s = 0.0
        self.end = 0.0  # while capped: instant of the end; while fair: the pool's served bits then
        self.turn = -1  # number of the placement; stale heap entries differ; -1: in no heap
        self.is_fair = False


_Entry = tuple[float, int, Flow]


_SLACK = 64  # heap entries above twice the current ones at which stale entries are removed


def _push(heap: list[_Entry], key: float, flow: Flow, current: int) -> None:
    """Add a flow to a heap with ``current`` valid entries; remove stale ones if too many."""
    if len(heap) > 2 * current + _SLACK:
        heap[:] = [entry for entry in heap if entry[2].turn == entry[1]]
        heapify(heap)
    heappush(heap, (key, flow.turn, flow))


def _top(heap: list[_Entry]) -> Flow | None:
    """Return the first flow of a heap after removing stale entries; None if it is empty."""
    while heap and heap[0][2].turn != heap[0][1]:
        heappop(heap)
    return heap[0][2] if heap else None


class _Pool:
    """The flows that share one capacity, and their level.

    Attributes:
        capacity: Capacity in units of rate; None is unlimited.
        fixed: Sum of the caps of the capped flows, in units of rate.
        capped: Number of capped flows.
        fair: Number of fair flows.
        level: Rate of each fair flow in bits per second.
        own: Whether the pool's own capacity sets its level; otherwise the server's level does.
        moves: Number of times a flow was placed as capped or fair.
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
        """Advance the served bits of the fair flows to an instant."""
        if self.fair:
            self._served += self.level * max(0.0, now - self._at_s)
        else:
            self._served = 0.0  # restart the virtual time when idle, to keep rounding errors small
        self._at_s = now

    def place(self, flow: Flow, now: float, is_fair: bool) -> None:
        """Add a flow that is in no heap, as fair or as capped."""
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
        """Remove a flow and set its ``bits`` to those not yet sent."""
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
        """Make a capped flow fair, or a fair flow capped."""
        self.take(flow, now)
        self.place(flow, now, not flow.is_fair)

    def fill(self, now: float) -> None:
        """Set the level at which the flows fill the pool's own capacity.

        Both loops only raise the level, so one pass of each is enough.
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
        """Return whether the flows at the present level exceed the pool's capacity."""
        if self.capacity is None:
            return False
        at_level = self.fair * self.level * _UNITS if self.fair else 0
        return self.fixed + at_level > self.capacity

    def highest_level(self) -> float:
        """Return the highest rate, in units, at which a limit of this pool holds flows.

        The limit is the pool's capacity if it sets the level, else the largest cap of a capped
        flow. The result is -infinity if there is no limit.
        """
        if self.own and self.capacity is not None:
            return (self.capacity - self.fixed) / self.fair
        flow = _top(self._largest_capped)
        return flow.units if flow else -math.inf

    def lowest_level(self) -> float:
        """Return the lowest server level, in units, at which a new limit of this pool binds.

        The limit is the smallest cap of a fair flow, or the pool's capacity. The result is
        infinity if the capacity sets the level already.
        """
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
        """Lift the limit that :meth:`highest_level` returns: its flows get the server's level."""
        if self.own:
            self.own = False
        elif flow := _top(self._largest_capped):
            self.cross(flow, now)

    def leave(self, now: float) -> None:
        """Apply the limit that :meth:`lowest_level` returns to its flows."""
        flow = _top(self._smallest_fair)
        if flow and flow.units <= self._full_level():
            self.cross(flow, now)
        else:
            self.fill(now)

    def next_end_s(self) -> float:
        """Return the instant, in seconds, at which the next flow ends; infinity if none does."""
        capped, fair = _top(self._capped_ends), _top(self._fair_ends)
        end_s = capped.end if capped else math.inf
        return min(end_s, self._fair_end_s(fair)) if fair else end_s

    def _fair_end_s(self, flow: Flow) -> float:
        return self._at_s + max(0.0, flow.end - self._served) / self.level

    def pop_ended(self, now: float) -> list[Flow]:
        """Remove and return the flows that end by ``now``; call it before ``advance(now)``."""
        capped: list[Flow] = []
        while (flow := _top(self._capped_ends)) and flow.end <= now:
            self.take(flow, now)
            capped.append(flow)
        fair: list[Flow] = []
        while (flow := _top(self._fair_ends)) and self._fair_end_s(flow) <= now:
            fair.append(flow)
            last, flow.turn = flow.end, -1
        if fair:
            # Use the exact end of the last flow: a rounded sum could fall just below it.
            self._served, self._at_s = last, now
            self.fair -= len(fair)
        return capped + fair


class FairShare:
    """Max-min fair rates of the flows in one direction of the server, with or without cells.

    Call :meth:`settle` once after all changes of an instant. Instants must never decrease.

    Args:
        capacity_bits_per_s: Capacity of the server; infinity is unlimited.
        cells_bits_per_s: Capacity of each cell; empty if there is no middle tier.
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
        """Number of times a flow was placed as capped or fair: a measure of the work done."""
        return sum(pool.moves for pool in self._pools)

    def add(
        self, now: float, bits: float, cap_bits_per_s: float, cell: int = 0, tag: Any = None
    ) -> Flow:
        """Start and return a flow of ``bits`` bits; :meth:`settle` sets its rate."""
        pool = self._pools[cell]
        flow = Flow(self._started, bits, cap_bits_per_s, pool, tag)
        self._started += 1
        self._touch(pool, now)
        pool.place(flow, now, flow.cap > pool.level)
        return flow

    def set_cap(self, now: float, flow: Flow, cap_bits_per_s: float) -> None:
        """Change the rate that a flow's own link allows."""
        self._touch(flow.pool, now)
        flow.pool.take(flow, now)
        flow.cap, flow.units = cap_bits_per_s, _units(cap_bits_per_s)
        flow.pool.place(flow, now, flow.cap > flow.pool.level)

    def remove(self, now: float, flow: Flow) -> float:
        """Stop a flow; return the bits not sent, 0 if it had ended."""
        if flow.turn < 0:
            return 0.0
        self._touch(flow.pool, now)
        flow.pool.take(flow, now)
        return flow.bits

    def next_end_s(self) -> float:
        """Return the instant, in seconds, at which the next flow ends if no rate changes before."""
        return min(map(_Pool.next_end_s, self._pools))

    def pop_ended(self, now: float) -> list[Flow]:
        """Remove and return the flows that end by ``now``, in the order of their starts."""
        ended: list[Flow] = []
        for pool in self._pools:
            if gone := pool.pop_ended(now):
                ended += gone
                self._touch(pool, now)
        for flow in ended:
            flow.bits = 0.0
        return sorted(ended, key=attrgetter("number"))

    def settle(self, now: float) -> None:
        """Set the rate of every flow after the changes of an instant."""
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
        """Set the server's level, as :meth:`_Pool.fill` does for one pool, over all cells.

        A cell whose own capacity binds counts with that capacity, any other cell with its flows.
        """
        for pool in self._pools:
            pool.advance(now)
            if pool.own or pool.is_overfull():
                pool.fill(now)
        left, fair = self._leftover(capacity)
        while True:  # lift the limits that are above the server's level
            over = max(self._pools, key=_Pool.highest_level)
            if over.highest_level() * fair <= left if fair else left >= 0:
                break
            over.join(now)
            left, fair = self._leftover(capacity)
        while fair:  # apply the limits that are at or below the server's level
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
        """Return the capacity left for flows at the server's level, in units, and their number."""
        left, fair = capacity, 0
        for pool in self._pools:
            if pool.own and pool.capacity is not None:
                left -= pool.capacity
            else:
                left -= pool.fixed
                fair += pool.fair
        return left, fair
