"""Rate trace: a piecewise-constant rate over simulated time, evaluated in closed form.

At its end a trace starts again (``repeat``), or its last rate holds forever (``hold``).
:mod:`floss_sim.network.traces.trace_files` reads traces from files.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, count, pairwise
from typing import Any, Literal, get_args

import numpy as np
from pydantic import TypeAdapter, ValidationError

from floss_sim.errors import ProfileError

AtEnd = Literal["repeat", "hold"]


@dataclass(frozen=True)
class RateTrace:
    """Piecewise-constant rate over simulated time; methods take instants at or above 0.

    Attributes:
        starts_s: Start of each piece in seconds; ascending, the first is 0.
        bits_per_s: Rate of each piece, at or above 0.
        length_s: End of the last piece in seconds.
        at_end: ``"repeat"`` to start again, or ``"hold"`` to keep the last rate forever.

    Raises:
        ProfileError: Invalid fields, or a trace in which a transfer might never end.
    """

    starts_s: tuple[float, ...]
    bits_per_s: tuple[float, ...]
    length_s: float
    at_end: AtEnd

    def __post_init__(self) -> None:
        marks = (*self.starts_s, self.length_s)
        if self.at_end not in get_args(AtEnd):
            raise ProfileError(f"at_end {self.at_end!r} is unknown; valid: repeat, hold")
        if not self.bits_per_s or len(self.starts_s) != len(self.bits_per_s):
            raise ProfileError("a trace needs one rate for each start, and at least one")
        if marks[0] != 0 or not all(a < b < math.inf for a, b in pairwise(marks)):
            raise ProfileError("a trace's times must be finite and ascend from 0 to its length")
        if not all(0 <= rate < math.inf for rate in self.bits_per_s):
            raise ProfileError("a trace's rates must be finite and at or above 0")
        if not 0 < self._bits[-1] < math.inf:
            raise ProfileError("a trace must deliver bits: at least one rate above 0, all finite")
        if self.at_end == "hold" and self.bits_per_s[-1] == 0:
            raise ProfileError(
                "the last rate is 0 and is held forever, so that a transfer might never end; "
                "valid: a last rate above 0, or repeat"
            )

    @cached_property
    def _bits(self) -> tuple[float, ...]:
        """Bits sent by the start of each piece, and by the end of the trace."""
        widths_s = (b - a for a, b in pairwise((*self.starts_s, self.length_s)))
        pieces = (rate * s for rate, s in zip(self.bits_per_s, widths_s, strict=True))
        return tuple(accumulate(pieces, initial=0.0))

    @cached_property
    def _cuts(self) -> tuple[int, ...]:
        """Numbers of the pieces whose rate differs from that of the piece before."""
        first = 0 if self.at_end == "repeat" else 1
        rates = self.bits_per_s
        return tuple(k for k in range(first, len(rates)) if rates[k] != rates[k - 1])

    def _start(self, cycle: int, piece: int) -> float:
        """Return the start of a piece in seconds; a product, not a sum, so it does not drift."""
        return cycle * self.length_s + self.starts_s[piece]

    def _end(self, cycle: int, piece: int) -> float:
        if piece + 1 < len(self.starts_s):
            return self._start(cycle, piece + 1)
        return (cycle + 1) * self.length_s if self.at_end == "repeat" else math.inf

    def _locate(self, at_s: float) -> tuple[int, int]:
        """Return the last cycle and piece that have started by ``at_s``."""
        cycle = 0
        if self.at_end == "repeat":
            cycle = int(at_s // self.length_s)
            cycle += (cycle + 1) * self.length_s <= at_s  # if the product was rounded down
        pieces = range(len(self.starts_s))
        return cycle, bisect_right(pieces, at_s, key=lambda piece: self._start(cycle, piece)) - 1

    def rate_at(self, at_s: float) -> float:
        """Return the bits per second at an instant; the start of a piece belongs to the piece."""
        return self.bits_per_s[self._locate(at_s)[1]]

    def changes(self, from_s: float) -> Iterator[tuple[float, float]]:
        """Yield ``(at_s, bits_per_s)``: the rate at ``from_s``, then every later change in order.

        Instants ascend strictly. The iterator is endless if the trace repeats and its rate varies.
        """
        cycle, piece = self._locate(from_s)
        at_s, rate = from_s, self.bits_per_s[piece]
        for next_cycle, cut in self._cuts_after(cycle, piece):
            next_s = self._start(next_cycle, cut)
            if next_s > at_s:  # equal if the piece is too short for the resolution of a float
                yield at_s, rate
            at_s, rate = next_s, self.bits_per_s[cut]
        yield at_s, rate

    def _cuts_after(self, cycle: int, piece: int) -> Iterator[tuple[int, int]]:
        rest = range(bisect_right(self._cuts, piece), len(self._cuts))
        yield from ((cycle, self._cuts[i]) for i in rest)
        if self.at_end == "repeat" and self._cuts:
            yield from ((later, cut) for later in count(cycle + 1) for cut in self._cuts)

    def bits_between(self, a_s: float, b_s: float) -> float:
        """Return the bits sent between the instants ``a_s`` and ``b_s``, for ``b_s >= a_s``."""
        (cycle_a, a), (cycle_b, b) = self._locate(a_s), self._locate(b_s)
        if (cycle_a, a) == (cycle_b, b):
            return self.bits_per_s[a] * (b_s - a_s)
        head = self.bits_per_s[a] * (self._end(cycle_a, a) - a_s)
        tail = self.bits_per_s[b] * (b_s - self._start(cycle_b, b))
        whole = (cycle_b - cycle_a) * self._bits[-1] + (self._bits[b] - self._bits[a + 1])
        return head + whole + tail

    def time_of(self, bits: float, from_s: float) -> float:
        """Return the seconds from ``from_s`` to the first instant by which ``bits`` are sent.

        Costs O(log pieces) for a transfer of any length.
        """
        if bits <= 0:
            return 0.0
        cycle, piece = self._locate(from_s)
        rate = self.bits_per_s[piece]
        here_s = self._end(cycle, piece) - from_s
        if bits <= rate * here_s:
            return bits / rate
        cycles, target = self._whole_cycles(self._bits[piece + 1] + (bits - rate * here_s))
        last = min(bisect_left(self._bits, target), len(self.bits_per_s)) - 1
        rest_s = (target - self._bits[last]) / self.bits_per_s[last]
        after_s = self._start(cycle + cycles, last) - from_s + rest_s
        return max(here_s, after_s)  # rounding must not give an instant before the piece's end

    def _whole_cycles(self, bits: float) -> tuple[int, float]:
        """Return the cycles before the one with the last bit, and the bits sent in that one."""
        total = self._bits[-1]
        if self.at_end == "hold" or bits <= total:
            return 0, bits
        rest = math.fmod(bits, total) or total  # exactly a cycle's bits: all in that cycle
        return round((bits - rest) / total), rest

    @property
    def mean_bits_per_s(self) -> float:
        """Mean rate over the length of the trace."""
        return self._bits[-1] / self.length_s

    def with_factor(self, factor: float) -> RateTrace:
        """Return the trace with every rate multiplied by a finite ``factor`` above zero.

        Raises:
            ProfileError: A factor that is not finite or not above zero.
        """
        if not 0 < factor < math.inf:
            raise ProfileError(f"trace factor {factor} must be a finite number above zero")
        return replace(self, bits_per_s=tuple(rate * factor for rate in self.bits_per_s))

    def settings(self) -> dict[str, Any]:
        """Return the trace as plain values for fingerprints, with a digest of starts and rates."""
        digest = hashlib.sha256(np.array([self.starts_s, self.bits_per_s], "<f8").tobytes())
        length_s = float(self.length_s)
        return {"sha256": digest.hexdigest(), "length_s": length_s, "at_end": self.at_end}


_VALUES: TypeAdapter[RateTrace] = TypeAdapter(RateTrace)


def trace_of(values: object) -> RateTrace:
    """Return the trace of plain values, such as JSON has them.

    Args:
        values: The attributes by name.

    Raises:
        ProfileError: The values are not those of a trace.
    """
    try:
        return _VALUES.validate_python(values)
    except ValidationError as error:
        said = error.errors(include_url=False)[0]
        raise ProfileError(f"no values of a trace: {said['msg']}") from None
