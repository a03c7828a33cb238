"""Range coder for bits and symbols of known probability.

Eight bits are one symbol of a range coder (Martin 1979; the library *constriction*), whose model is
that of independent bits: a byte of j ones has probability ``p**j * (1 - p)**(8 - j)``. Both ends
compute it by the same products of float64, which IEEE 754 makes the same everywhere.

A *scale* is a table of densities, and a *level* its row: so many an octave from 2**-20 to 1/2,
mirrored above 1/2. The first level is a density of zero and the last one of one: such bits cost
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import PayloadError

Counts = NDArray[np.int64]
SymbolModel = Any  # of the library, which has no types
Symbols = NDArray[np.int32]

LOST_BITS = 1.4e-4  # a symbol: what the range coder's divisions lose in the mean
_STATE_BYTES, _LOWER, _ALL_ONES = 8, 2**32 - 1, 2**64 - 1  # of the range coder
_QUARTERS = (4096, 3444, 2896, 2435)  # 4096 * 2**(-i/4), rounded
_OCTAVES = 20
_ONES = np.array([i.bit_count() for i in range(256)])


class Scale:
    """A table of densities in increasing order, 1, 2 or 4 an octave."""

    def __init__(self, an_octave: int) -> None:
        quarters = _QUARTERS[:: 4 // an_octave]
        falling = [q / 4096 / 2**octave for octave in range(1, _OCTAVES) for q in quarters]
        falling.append(0.5**_OCTAVES)
        inner = np.array([*reversed(falling), *(1 - p for p in falling[1:])])
        self.densities = np.array([0.0, *inner, 1.0])
        self.last = len(self.densities) - 1
        odds = inner / (1 - inner)
        middle = np.sqrt(odds[1:] * odds[:-1])
        # A density of zero is at or below the first of these, one of one above the last.
        self._between = np.array([0.0, *(middle / (1 + middle)), np.nextafter(1, 0)])
        with np.errstate(divide="ignore"):
            one_bits, self._zero_bits = -np.log2(self.densities), -np.log2(1 - self.densities)
        one_bits[0] = self._zero_bits[-1] = 0  # of these there are none
        self._more_bits = one_bits - self._zero_bits
        self._models: dict[int, SymbolModel] = {}

    def levels_of(self, counts_C: Counts, sizes_C: Counts) -> Counts:
        """Return the level of each cell, which holds ``counts_C`` ones in ``sizes_C`` bits."""
        levels_C: Counts = self._between.searchsorted(counts_C / np.maximum(sizes_C, 1))
        return levels_C

    def cost_bits(self, counts_C: Counts, sizes_C: Counts, levels_C: Counts) -> float:
        """Return the bits that such cells take, but for what the coder loses."""
        more_bits = counts_C @ self._more_bits[levels_C]
        return float(sizes_C @ self._zero_bits[levels_C] + more_bits)

    def model(self, level: int) -> SymbolModel:
        """Return the model of eight bits of a level."""
        if level not in self._models:
            self._models[level] = byte_model(float(self.densities[level]))
        return self._models[level]


FINE, COARSE = Scale(4), Scale(1)


def weight_model(weights: Sequence[float] | NDArray[np.float64]) -> SymbolModel:
    """Return the model of symbols whose probabilities are as these weights, two or more of them."""
    return constriction.stream.model.Categorical(np.asarray(weights), perfect=False)


def byte_model(density: float) -> SymbolModel:
    """Return the model of eight independent bits, each of which is one with this probability."""
    ones, zeros = np.ones(9), np.ones(9)
    for j in range(1, 9):
        ones[j], zeros[j] = ones[j - 1] * density, zeros[j - 1] * (1 - density)
    return weight_model((ones * zeros[::-1])[_ONES])


class SymbolWriter:
    """Symbols to bytes."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def write(self, symbols: NDArray[np.integer[Any]], model: SymbolModel) -> None:
        """Append symbols under a model."""
        self._coder.encode(symbols.astype(np.int32, copy=False), model)

    def finish(self) -> bytes:
        """Return the fewest bytes that read back so, as if zeros followed them."""
        settled, (low, span) = self._coder.pos()
        words: bytes = self._coder.get_compressed()[:settled].astype(">u4").tobytes()
        end = _roundest_number(low, span)
        if end > _ALL_ONES and low <= _ALL_ONES - _LOWER:
            # The coder itself would have ended below the next word: what is settled counts one up.
            words = (int.from_bytes(words, "big") + 1).to_bytes(len(words), "big")
        section: bytes = words + (end & _ALL_ONES).to_bytes(_STATE_BYTES, "big")
        return section.rstrip(b"\0")


def _roundest_number(low: int, span: int) -> int:
    """Return the number from ``low`` on, by less than ``span``, with the most zero bytes behind."""
    for zeros in range(8 * _STATE_BYTES, -1, -8):
        rounded = -(-low >> zeros) << zeros
        if rounded - low < span:
            return rounded
    raise ValueError(f"nothing lies within {span} of {low}")


class SymbolReader:
    """Bytes back to symbols; what is missing at the end is zero."""

    def __init__(self, section: memoryview) -> None:
        padded = bytes(section) + bytes(-len(section) % 4)
        words = np.frombuffer(padded, ">u4").astype(np.uint32)
        self._section = section
        self._coder = constriction.stream.queue.RangeDecoder(words)
        self._again = SymbolWriter()

    def read(self, count: int, model: SymbolModel) -> Symbols:
        """Return the next symbols.

        Raises:
            PayloadError: No encoder writes such bytes.
        """
        try:
            symbols: Symbols = self._coder.decode(model, count)
        except AssertionError:
            raise PayloadError("range-coded positions are damaged") from None
        self._again.write(symbols, model)
        return symbols

    def check_end(self) -> None:
        """Check that these are the bytes of what was read: each has no others.

        Raises:
            PayloadError: They are not.
        """
        if self._again.finish() != self._section:
            raise PayloadError("range-coded positions end in other bytes than the fewest")
